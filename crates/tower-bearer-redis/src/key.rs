//! The names of what is stored for a key.

use tower_bearer::store::StoreKey;

/// The keys of a record. The part in braces puts both into one slot of a cluster.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) record: String,
    pub(crate) lease: String,
    /// What is published when the record changes.
    pub(crate) name: String,
    pub(crate) slot: Slot,
}

/// A part of a cluster's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) u16);

impl Key {
    pub(crate) fn new(prefix: &str, key: StoreKey) -> Self {
        let name = key.to_string();
        Self {
            record: format!("{prefix}:{{{name}}}:record"),
            lease: format!("{prefix}:{{{name}}}:lease"),
            slot: Slot::of(name.as_bytes()),
            name,
        }
    }
}

impl Slot {
    /// Returns the slot of a key or of its part in braces: its CRC-16 (XMODEM), modulo the number of slots.
    pub(crate) fn of(tag: &[u8]) -> Self {
        let crc = tag.iter().fold(0u16, |crc, byte| {
            (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 })
        });
        Self(crc % 16384)
    }

    /// Returns any slot.
    pub(crate) fn any() -> Self {
        Self(fastrand::u16(..16384))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(Slot::of(b"123456789"), Slot(0x31C3));
        assert_eq!(Slot::of(b"foo"), Slot(12182));
    }

    #[test]
    fn both_keys_have_the_same_part_in_braces() {
        let key = Key::new("app", StoreKey::new([7; 32]));
        let hex = "07".repeat(32);
        assert_eq!(key.record, format!("app:{{{hex}}}:record"));
        assert_eq!(key.lease, format!("app:{{{hex}}}:lease"));
        assert_eq!(key.slot, Slot::of(hex.as_bytes()));
    }
}
