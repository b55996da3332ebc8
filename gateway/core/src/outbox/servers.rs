//! A set of servers, by their places in the gateway.

/// Servers; there are at most [`crate::limits::MAX_ACCOUNTS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Servers(u64);

impl Servers {
    /// Returns the set of one server.
    pub(crate) fn one(account: usize) -> Self {
        let mut servers = Self::default();
        servers.insert(account);
        servers
    }

    /// Adds a server.
    pub(crate) fn insert(&mut self, account: usize) {
        self.0 |= bit(account);
    }

    /// Takes a server out; says whether it was there.
    pub(crate) fn remove(&mut self, account: usize) -> bool {
        let before = self.0;
        self.0 &= !bit(account);
        before != self.0
    }

    /// Says whether a server is in it.
    pub(crate) fn contains(self, account: usize) -> bool {
        self.0 & bit(account) != 0
    }

    /// Says whether there is none.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the places, rising.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..crate::limits::MAX_ACCOUNTS).filter(move |account| self.contains(*account))
    }
}

fn bit(account: usize) -> u64 {
    u32::try_from(account)
        .ok()
        .and_then(|account| 1u64.checked_shl(account))
        .expect("the number of servers is bounded by the width of the set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_has_room_for_as_many_servers_as_there_may_be() {
        let mut servers = Servers::one(crate::limits::MAX_ACCOUNTS - 1);
        servers.insert(0);
        assert_eq!(
            servers.iter().collect::<Vec<_>>(),
            [0, crate::limits::MAX_ACCOUNTS - 1]
        );
        assert!(servers.contains(0));
        assert!(servers.remove(0));
        assert!(!servers.remove(0) && !servers.contains(0));
        assert!(servers.remove(crate::limits::MAX_ACCOUNTS - 1));
        assert!(servers.is_empty());
    }
}
