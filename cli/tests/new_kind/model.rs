//! `[lamps.<name>]`: a kind of guest that the tests add.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Pool;
use crate::name::{GuestName, PoolName};

use super::guest::{Guest, GuestSection, State, directory};

/// Section `[lamps.<name>]` of `host.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lamp {
    /// Name of the pool that holds its directory.
    pub pool: PoolName,
}

impl GuestSection for Lamp {
    const SECTION: &'static str = "lamps";

    fn guest<'a>(&'a self, name: &'a GuestName, pools: &BTreeMap<PoolName, Pool>) -> Guest<'a> {
        Guest {
            section: Self::SECTION,
            name,
            state: State::Present,
            pool: &self.pool,
            nics: Vec::new(),
            owns: directory(&self.pool, name, pools),
        }
    }
}
