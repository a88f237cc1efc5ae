//! Real time: SCHED_FIFO for `act` and locked memory for the process, where the machine permits them.
//!
//! Called in the thread itself, before it does anything else. What is not permitted is said (log, event, status) and the
//! line runs all the same: on an idle machine pulses are as exact, under load they are not.

use std::num::NonZeroU64;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_current_timer_slack};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use crate::config;
use crate::telemetry::board::Realtime;

/// Asks for what `settings` want, for the calling thread and its process.
pub fn enter(settings: config::Realtime) -> Realtime {
    let mut realtime = Realtime::default();
    if let Some(priority) = settings.priority {
        // For where SCHED_FIFO is refused: an ordinary thread's sleep may otherwise end 50 µs late. It needs no permission.
        _ = set_current_timer_slack(NonZeroU64::new(1));
        match ask_fifo(priority) {
            Ok(()) => realtime.fifo_priority = Some(priority),
            Err(why) => realtime.refused.push(format!(
                "SCHED_FIFO {priority} for the actuation thread: {why}; give the account LimitRTPRIO={priority} or more \
                 (the unit does), or set [realtime] priority = 0"
            )),
        }
    }
    if settings.lock_memory {
        match lock_memory() {
            Ok(()) => realtime.memory_locked = true,
            Err(why) => realtime.refused.push(format!(
                "locked memory: {why}; give the account LimitMEMLOCK=infinity (the unit does), or set [realtime] \
                 lock_memory = false"
            )),
        }
    }
    realtime
}

fn ask_fifo(priority: u8) -> Result<(), String> {
    let value = ThreadPriorityValue::try_from(priority)?;
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let set = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), policy);
    set.map_err(|error| match error {
        thread_priority::Error::OS(code) => std::io::Error::from_raw_os_error(code).to_string(),
        other => format!("{other:?}"),
    })
}

/// Locks pages as they are touched: stacks reserve megabytes that nobody ever uses.
fn lock_memory() -> Result<(), String> {
    // Under a limit the lock itself succeeds and a later allocation fails, which would end the program in mid-run.
    if !may_lock_everything() {
        let limit = getrlimit(Resource::Memlock).current.unwrap_or_default();
        return Err(format!("the limit is {} KiB, under which a later allocation would fail", limit / 1024));
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags).map_err(|error| error.to_string())
}

/// Whether nothing limits how much memory this process locks.
pub fn may_lock_everything() -> bool {
    let is_exempt = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    getrlimit(Resource::Memlock).current.is_none() || is_exempt
}

/// The highest SCHED_FIFO priority that this process may ask for; 0 where it may not.
pub fn fifo_priority_max() -> u64 {
    let is_exempt = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_NICE));
    if is_exempt { 99 } else { getrlimit(Resource::Rtprio).current.unwrap_or(99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_permitted_is_said_with_its_remedy() {
        let realtime = std::thread::spawn(|| enter(config::Realtime { priority: Some(40), lock_memory: false }));
        let realtime = realtime.join().unwrap();
        assert!(!realtime.memory_locked);
        match realtime.fifo_priority {
            Some(priority) => assert_eq!((priority, realtime.refused.len()), (40, 0)),
            None => assert!(realtime.refused[0].contains("LimitRTPRIO=40"), "{:?}", realtime.refused),
        }
    }

    #[test]
    fn what_is_not_asked_for_is_not_done() {
        assert_eq!(enter(config::Realtime { priority: None, lock_memory: false }), Realtime::default());
    }
}
