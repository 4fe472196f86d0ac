//! How full a pool is.

use serde::Serialize;

/// How full a pool is. A file system that does not tell data from the rest counts all of it as data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Usage {
    /// Bytes of files.
    pub data: Filled,
    /// Bytes of everything else: names, checksums, small files.
    pub metadata: Filled,
    /// What can still be allocated for either, counted once whatever the copies.
    pub unallocated: u64,
}

/// How full what was allocated of one kind is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Filled {
    /// Allocated bytes, counted once whatever the copies.
    pub size: u64,
    /// Of them, used.
    pub used: u64,
}

impl Filled {
    /// How full it is, in hundredths, when everything that can still be allocated became this.
    pub fn percent(self, unallocated: u64) -> u64 {
        let room = u128::from(self.size).saturating_add(unallocated.into());
        let percent = u128::from(self.used).saturating_mul(100).checked_div(room).unwrap_or(0);
        u64::try_from(percent).unwrap_or(u64::MAX).min(100)
    }

    /// Bytes that are still free, in what was allocated and beside it.
    pub fn free(self, unallocated: u64) -> u64 {
        self.size.saturating_sub(self.used).saturating_add(unallocated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t40_metadata_fills_a_pool_that_has_room_for_data() {
        let full = Filled { size: 100, used: 99 };
        assert_eq!((full.percent(0), full.free(0)), (99, 1));
        assert_eq!((full.percent(100), full.free(100)), (49, 101));
        assert_eq!(Filled::default().percent(0), 0);
        assert_eq!(Filled { size: 0, used: 5 }.percent(1), 100);
    }
}
