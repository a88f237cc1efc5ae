//! Training beside other work: it has the processors only while nobody else wants them.

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// Lets everything else on this machine go first: the line that inspects beside a lesson.
///
/// For the calling thread and those that it starts from now on. Disks serve them after others, too: the kernel derives
/// that from the nice value. Nobody is refused it.
pub fn stand_back() {
    // The least priority of this policy is a nice value of 19. Under SCHED_IDLE a lesson beside anything that spins
    // would take hours.
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy) {
        log::debug!("the lesson runs with the priority of everything else: {error:?}");
    }
}
