//! Pools that are not whole.

use std::fs::TryLockError;

use super::super::machine::{Area, Condition};
use super::{LOOK_PATIENCE, LookError, lock_file};
use crate::pool::{self, Health, MemberState, Status};
use bedplate_resources::context::Context;

/// Conditions, and what is well.
pub(super) type Pools = (Vec<Condition>, Vec<(Area, String, String)>);

/// None while a pool is being changed: on the way from one state to the next there is nothing to tell. A
/// scrub is no such change.
pub(super) fn look(context: &Context) -> Result<Option<Pools>, LookError> {
    let file = lock_file(context, "pool.lock")?;
    if let Err(TryLockError::WouldBlock) = file.try_lock_shared() {
        return Ok(None);
    }
    let found = pool::status(&context.intent)?;
    let well = found.iter().filter(|status| pool_condition(status).is_none());
    let well = well.map(|status| (Area::Pools, status.name.clone(), status.to_string())).collect();
    Ok(Some((found.iter().filter_map(pool_condition).collect(), well)))
}

/// A pool that is not whole. Numbers of errors do not make it another one: they grow.
pub fn pool_condition(status: &Status) -> Option<Condition> {
    let how = match status.health {
        Health::Whole if status.next.is_empty() => return None,
        Health::Whole => "wants something done",
        Health::Degraded => "is DEGRADED",
        Health::Down => "is NOT MOUNTED",
        Health::Unseen => "cannot be looked at",
    };
    let patience = if status.health == Health::Unseen { LOOK_PATIENCE } else { 0 };
    let members = status.members.iter().filter(|member| member.state != MemberState::InPool);
    let members: Vec<String> =
        members.map(|member| format!("{} {:?}", member.role, member.state)).collect();
    let kind = format!("{:?}, {}, {} to do", status.health, members.join(", "), status.next.len());
    let name = &status.name;
    Some(Condition {
        area: Area::Pools,
        name: name.clone(),
        kind,
        title: format!("pool {name} {how}"),
        cleared: format!("pool {name} is whole again"),
        text: status.to_string(),
        urgent: true,
        patience,
    })
}
