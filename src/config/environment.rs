//! Environment variables as settings.

use std::{collections::BTreeMap, env, ffi::OsString};

use serde::de::DeserializeOwned;

use crate::{
    config::{place::Place, read::from_tree, tree::Value},
    error::Error,
};

/// What separates the levels of a key in the name of a variable.
const LEVELS: &str = "__";

/// Reads settings from the environment variables whose names begin with `prefix`.
///
/// The rest of a name is the path of a key in any case, with two underscores between the levels: with the prefix `APP_`,
/// `APP_TOKEN__CLIENT_ID` is `token.client_id`. A value is text, a number, `true` or `false`, or a list with commas.
///
/// Each variable with the prefix is a setting, and an unknown one is an error. So the variables that hold secrets have names
/// without the prefix: `APP_TOKEN__CLIENT_SECRET__ENV=CLIENT_SECRET`.
///
/// # Errors
/// As for [`read`](crate::config::read), with the name of the variable in place of the path.
pub fn from_env<T: DeserializeOwned>(prefix: &str) -> Result<T, Error> {
    from_os_vars(prefix, env::vars_os())
}

/// Reads settings from variables as [`from_env`] does, from a list of names and values.
///
/// # Errors
/// As for [`from_env`].
pub fn from_vars<T, N, V>(prefix: &str, variables: impl IntoIterator<Item = (N, V)>) -> Result<T, Error>
where
    T: DeserializeOwned,
    N: Into<OsString>,
    V: Into<OsString>,
{
    from_os_vars(prefix, variables.into_iter().map(|(name, value)| (name.into(), value.into())))
}

fn from_os_vars<T: DeserializeOwned>(
    prefix: &str,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<T, Error> {
    let root = Place::variables(prefix);
    let mut table = BTreeMap::new();
    for (name, value) in variables {
        // A name that is not UTF-8 is not a key.
        let Some(name) = name.to_str() else { continue };
        let Some(path) = name.strip_prefix(prefix).filter(|path| !path.is_empty()) else { continue };
        let keys: Vec<_> = path.split(LEVELS).map(str::to_lowercase).collect();
        let place = keys.iter().fold(root.clone(), |place, key| place.child(key));
        let value = value.into_string().map_err(|_| place.error("this is not UTF-8; set it to UTF-8 text"))?;
        insert(&mut table, &keys, value).map_err(|problem| place.error(problem))?;
    }
    from_tree(&Value::Table(table), root)
}

/// # Errors
/// Says what is wrong with the name.
fn insert(table: &mut BTreeMap<String, Value>, keys: &[String], value: String) -> Result<(), &'static str> {
    const BOTH: &str = "this is a value, and a part of another variable's name; unset one of them";
    let [key, below @ ..] = keys else { return Ok(()) };
    if key.is_empty() {
        return Err("a key in this name is empty; write two underscores between two keys, and only there");
    }
    if below.is_empty() {
        return match table.insert(key.clone(), Value::Variable(value)) {
            None => Ok(()),
            Some(Value::Table(_)) => Err(BOTH),
            Some(_) => Err("there are two variables of this name, in different case; unset one of them"),
        };
    }
    match table.entry(key.clone()).or_insert_with(|| Value::Table(BTreeMap::new())) {
        Value::Table(table) => insert(table, below, value),
        _ => Err(BOTH),
    }
}
