//! Finds the syntax of each mutant, and puts it behind a switch.

use crate::{Mutant, Position};
use proc_macro2::Span;
use std::collections::BTreeMap;
use syn::{
    Arm, BinOp, Block, Expr, ExprBinary, ExprMatch, ExprStruct, ImplItemFn, ItemConst, ItemFn, ItemStatic, Pat,
    ReturnType, Signature, Stmt, TraitItemFn, Type,
    spanned::Spanned,
    visit::{self, Visit},
};

/// Text that is put in at a byte of the old file.
pub(crate) struct Edit {
    pub(crate) at: usize,
    /// How many bytes of the old file it replaces.
    pub(crate) removed: usize,
    pub(crate) kind: Kind,
    /// The order of the visits: an outer expression has a lower number than an inner one.
    pub(crate) number: i32,
    pub(crate) text: String,
    /// The mutant that the text belongs to.
    pub(crate) id: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    Close,
}

pub(crate) struct Placer<'a> {
    text: &'a str,
    mutants: BTreeMap<Position, Vec<Mutant>>,
    edits: Vec<Edit>,
    unplaced: BTreeMap<u32, &'static str>,
    /// Inside of a constant, where nothing can be asked at run time.
    constant: bool,
}

const IN_A_CONSTANT: &str = "unplaced: in a constant";
const IN_A_LET_CHAIN: &str = "unviable: `||` between a `let` and a condition does not compile";
const NOT_EXHAUSTIVE: &str = "unviable: the other arms do not take all values";
const EMPTY: &str = "::std::iter::empty()";
const OF_ANOTHER_TYPE: &str = "unplaced: the function returns `impl`, and the mutant another type";
const NOT_FOUND: &str = "unplaced: its syntax was not found";

impl<'a> Placer<'a> {
    pub(crate) fn new(text: &'a str, mutants: BTreeMap<Position, Vec<Mutant>>) -> Self {
        Self { text, mutants, edits: Vec::new(), unplaced: BTreeMap::new(), constant: false }
    }

    pub(crate) fn finish(mut self) -> (Vec<Edit>, BTreeMap<u32, &'static str>) {
        for mutant in self.mutants.into_values().flatten() {
            self.unplaced.insert(mutant.id, NOT_FOUND);
        }
        (self.edits, self.unplaced)
    }

    /// Takes the mutants of a genre that start where `span` starts.
    fn take(&mut self, genre: &str, span: Span) -> Vec<Mutant> {
        let start = span.start();
        let Some(here) = self.mutants.get_mut(&Position { line: start.line, column: start.column + 1 }) else {
            return Vec::new();
        };
        let taken: Vec<_> = here.extract_if(.., |mutant| mutant.genre == genre).collect();
        if self.constant {
            self.refuse(taken, IN_A_CONSTANT);
            return Vec::new();
        }
        taken
    }

    fn refuse(&mut self, mutants: Vec<Mutant>, why: &'static str) {
        self.unplaced.extend(mutants.into_iter().map(|mutant| (mutant.id, why)));
    }

    fn source(&self, node: &impl Spanned) -> &'a str {
        &self.text[node.span().byte_range()]
    }

    fn edit(&mut self, at: usize, kind: Kind, text: String, id: Option<u32>) {
        let number = i32::try_from(self.edits.len()).expect("few edits");
        self.edits.push(Edit { at, removed: 0, kind, number, text, id });
    }

    /// Puts `alternatives` before an expression, each behind its switch.
    fn wrap(&mut self, span: Span, alternatives: Vec<(u32, String)>) {
        if alternatives.is_empty() {
            return;
        }
        let range = span.byte_range();
        let mut before = "(";
        for (id, alternative) in alternatives {
            let text = format!("{before}if ::tower_bearer_switch::on({id}) {{ {alternative} }} else ");
            self.edit(range.start, Kind::Open, text, Some(id));
            before = "";
        }
        self.edit(range.start, Kind::Open, "{ ".to_owned(), None);
        self.edit(range.end, Kind::Close, " })".to_owned(), None);
    }

    fn binary(&mut self, binary: &ExprBinary) {
        let mutants = self.take("BinaryOperator", binary.op.span());
        if matches!(binary.op, BinOp::And(_)) && (has_let(&binary.left) || has_let(&binary.right)) {
            self.refuse(mutants, IN_A_LET_CHAIN);
            return;
        }
        let (left, right) = (self.source(&binary.left), self.source(&binary.right));
        let alternatives =
            mutants.into_iter().map(|m| (m.id, format!("({left}) {} ({right})", m.replacement))).collect();
        self.wrap(binary.span(), alternatives);
    }

    fn deleted_fields(&mut self, literal: &ExprStruct) {
        let mut alternatives = Vec::new();
        let whole = literal.span().byte_range();
        for pair in literal.fields.pairs() {
            let end = pair.punct().map_or(pair.value().span().byte_range().end, |comma| comma.span().byte_range().end);
            let start = pair.value().span().byte_range().start;
            for mutant in self.take("StructField", pair.value().span()) {
                let text = format!("{}{}", &self.text[whole.start..start], &self.text[end..whole.end]);
                alternatives.push((mutant.id, text));
            }
        }
        self.wrap(literal.span(), alternatives);
    }

    /// Refuses to delete an arm where no other arm takes all values: it would get a guard, as the others have.
    fn needed_arms(&mut self, matched: &ExprMatch) {
        let takes_all = |arm: &Arm| arm.guard.is_none() && matches!(arm.pat, Pat::Wild(_));
        if !matched.arms.iter().any(takes_all) {
            for arm in &matched.arms {
                let mutants = self.take("MatchArm", arm.span());
                self.refuse(mutants, NOT_EXHAUSTIVE);
            }
        }
    }

    /// Puts the early returns into a function, and visits it.
    fn function(&mut self, signature: &Signature, block: Option<&Block>, visit: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.constant, false);
        let edits_before = self.edits.len();
        if let Some(block) = block {
            // The span of such a mutant is that of the statements.
            if let Some(first) = block.stmts.first() {
                let inside = block.brace_token.span.open().byte_range().end;
                let mut mutants = self.take("FnValue", first.span());
                if returns_impl(signature) {
                    let (empty, others) = mutants.into_iter().partition(|mutant| mutant.replacement == EMPTY);
                    self.empty_iterator(block, empty);
                    self.refuse(others, OF_ANOTHER_TYPE);
                    mutants = Vec::new();
                }
                for mutant in mutants {
                    let text =
                        format!(" if ::tower_bearer_switch::on({}) {{ return {}; }}", mutant.id, mutant.replacement);
                    self.edit(inside, Kind::Open, text, Some(mutant.id));
                }
            }
        }
        visit(self);
        // A constant function cannot ask at run time. Most need not be constant for the crate to compile.
        if let Some(constant) = signature.constness
            && self.edits.len() > edits_before
        {
            let range = constant.span.byte_range();
            let number = i32::try_from(self.edits.len()).expect("few edits");
            let (kind, text) = (Kind::Open, String::new());
            self.edits.push(Edit { at: range.start, removed: range.len(), kind, number, text, id: None });
        }
        self.constant = outer;
    }

    /// An iterator of another type cannot be returned, but one that takes nothing can.
    fn empty_iterator(&mut self, block: &Block, mutants: Vec<Mutant>) {
        let Some(Stmt::Expr(last, None)) = block.stmts.last() else { return self.refuse(mutants, OF_ANOTHER_TYPE) };
        let range = last.span().byte_range();
        for mutant in mutants {
            self.edit(range.start, Kind::Open, "(".to_owned(), None);
            let take = format!(").take(if ::tower_bearer_switch::on({}) {{ 0 }} else {{ usize::MAX }})", mutant.id);
            self.edit(range.end, Kind::Close, take, Some(mutant.id));
        }
    }

    fn inside_constant(&mut self, visit: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.constant, true);
        visit(self);
        self.constant = outer;
    }
}

impl Visit<'_> for Placer<'_> {
    fn visit_expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Binary(binary) => self.binary(binary),
            Expr::Unary(unary) => {
                let operand = self.source(&unary.expr);
                let mutants = self.take("UnaryOperator", unary.op.span());
                let alternatives = mutants.into_iter().map(|m| (m.id, format!("{}{operand}", m.replacement))).collect();
                self.wrap(unary.span(), alternatives);
            }
            Expr::Struct(literal) => self.deleted_fields(literal),
            Expr::Match(matched) => self.needed_arms(matched),
            Expr::Repeat(repeat) => {
                self.visit_expr(&repeat.expr);
                self.inside_constant(|this| this.visit_expr(&repeat.len));
                return;
            }
            _ => {}
        }
        visit::visit_expr(self, expr);
    }

    fn visit_arm(&mut self, arm: &Arm) {
        let deleted = self.take("MatchArm", arm.span());
        if let Some((_, guard)) = &arm.guard {
            let range = guard.span().byte_range();
            for mutant in &deleted {
                self.edit(
                    range.start,
                    Kind::Open,
                    format!("!::tower_bearer_switch::on({}) && (", mutant.id),
                    Some(mutant.id),
                );
                self.edit(range.end, Kind::Close, ")".to_owned(), None);
            }
            let guards = self.take("MatchArmGuard", guard.span());
            self.wrap(guard.span(), guards.into_iter().map(|m| (m.id, m.replacement)).collect());
        } else {
            let end = arm.pat.span().byte_range().end;
            for mutant in &deleted {
                self.edit(end, Kind::Open, format!(" if !::tower_bearer_switch::on({})", mutant.id), Some(mutant.id));
            }
        }
        visit::visit_arm(self, arm);
    }

    fn visit_item_fn(&mut self, item: &ItemFn) {
        self.function(&item.sig, Some(&item.block), |this| visit::visit_item_fn(this, item));
    }

    fn visit_impl_item_fn(&mut self, item: &ImplItemFn) {
        self.function(&item.sig, Some(&item.block), |this| visit::visit_impl_item_fn(this, item));
    }

    fn visit_trait_item_fn(&mut self, item: &TraitItemFn) {
        self.function(&item.sig, item.default.as_ref(), |this| visit::visit_trait_item_fn(this, item));
    }

    fn visit_item_const(&mut self, item: &ItemConst) {
        self.inside_constant(|this| visit::visit_item_const(this, item));
    }

    fn visit_impl_item_const(&mut self, item: &syn::ImplItemConst) {
        self.inside_constant(|this| visit::visit_impl_item_const(this, item));
    }

    fn visit_trait_item_const(&mut self, item: &syn::TraitItemConst) {
        self.inside_constant(|this| visit::visit_trait_item_const(this, item));
    }

    fn visit_item_static(&mut self, item: &ItemStatic) {
        self.inside_constant(|this| visit::visit_item_static(this, item));
    }

    fn visit_type_array(&mut self, array: &syn::TypeArray) {
        self.inside_constant(|this| visit::visit_type_array(this, array));
    }
}

fn returns_impl(signature: &Signature) -> bool {
    matches!(&signature.output, ReturnType::Type(_, returned) if matches!(**returned, Type::ImplTrait(_)))
}

/// Returns whether a condition is a chain with a `let` in it.
fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => matches!(binary.op, BinOp::And(_)) && (has_let(&binary.left) || has_let(&binary.right)),
        _ => false,
    }
}
