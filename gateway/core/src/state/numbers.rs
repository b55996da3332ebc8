//! The small values: names and numbers. Fields are known by their numbers, which never change their meaning.

use minicbor::{Decode, Encode};

use super::Damage;

/// The command numbers that may be in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Commands {
    /// The first number that certainly was not.
    #[n(0)]
    pub(crate) reserved: u64,
}

/// The endpoint name of a device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct EndpointName {
    /// The name.
    #[n(0)]
    pub(crate) name: String,
}

/// The run that ended with everything saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Stopped {
    /// Its number, as the buffer counts.
    #[n(0)]
    pub(crate) boot: u32,
}

/// A value with a fixed encoding.
pub(crate) trait Encoded: Sized {
    /// Returns the bytes.
    fn to_bytes(&self) -> Vec<u8>;
    /// Reads them.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Damage>;
}

impl<T: Encode<()> + for<'b> Decode<'b, ()>> Encoded for T {
    fn to_bytes(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("memory can be written to")
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Damage> {
        Ok(minicbor::decode(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_an_array_in_the_order_of_the_field_numbers() {
        assert_eq!(Commands { reserved: 1_024 }.to_bytes(), [0x81, 0x19, 0x04, 0x00]);
        assert_eq!(Stopped { boot: 7 }.to_bytes(), [0x81, 0x07]);
        let name = EndpointName {
            name: "ab".to_owned(),
        };
        assert_eq!(name.to_bytes(), [0x81, 0x62, b'a', b'b']);
    }

    #[test]
    fn a_field_of_a_later_version_is_passed_over() {
        assert_eq!(
            Stopped::from_bytes(&[0x82, 0x07, 0x61, b'x']),
            Ok(Stopped { boot: 7 })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_value_or_damage(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            drop(Commands::from_bytes(&bytes));
            drop(EndpointName::from_bytes(&bytes));
            drop(Stopped::from_bytes(&bytes));
        }
    }
}
