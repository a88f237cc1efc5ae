//! A lesson beside other work: one thread for candle's tensors, and the processors only while nobody else wants them.
//!
//! candle shares every operator on a larger tensor among threads that spin until the last of them is done. Beside other
//! work a thread is set aside in mid-operator and the others spin for it: half of a lesson's processor time. It asks the
//! environment how many there shall be, once, and nothing else; a program that changes its own environment is unsafe as
//! soon as it has threads. So the program starts itself again, in the same process, with what it needs in its environment.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread::available_parallelism;

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// How many threads candle's tensors have. Who sets it before is obeyed.
const TENSOR_THREADS: &str = "CANDLE_NUM_THREADS";
/// How many threads lessons have. Without it candle reads `/proc/cpuinfo` before each product.
const THREADS: &str = "RAYON_NUM_THREADS";

/// Gives candle's tensors one thread: starts the program again where its environment does not say how many.
///
/// To be called before anything has happened. Returns where nothing is to be done, or the program cannot be started
/// again: a lesson then takes more of the processors, and gives the same bytes. Cost: 2 ms.
pub fn give_tensors_one_thread() {
    if env::var_os(TENSOR_THREADS).is_some() {
        return;
    }
    let mut arguments = env::args_os();
    let (Ok(program), Some(name)) = (env::current_exe(), arguments.next()) else { return };
    let mut again = Command::new(program);
    again.arg0(name).args(arguments).env(TENSOR_THREADS, "1");
    if let (None, Ok(processors)) = (env::var_os(THREADS), available_parallelism()) {
        again.env(THREADS, processors.to_string());
    }
    let error = again.exec();
    log::debug!("candle's tensors keep as many threads as there are processors: {error}");
}

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
