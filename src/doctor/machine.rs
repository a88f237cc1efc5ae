//! Checks of the machine itself: clocks, scheduling, processor, heat and supply.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Finding, Subject};
use crate::daemon::realtime;

/// A clock before this is wrong: 2026-01-01, when this check was written.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);
/// Degrees at which boards begin to slow down (Raspberry Pi: 80 soft, 85 hard; documentation, "Frequency management").
const WARM: f64 = 75.0;
const HOT: f64 = 85.0;

pub(super) fn clock(subject: &Subject) -> Finding {
    let resolution = rustix::time::clock_getres(rustix::time::ClockId::Monotonic);
    // Whoever counts in whole seconds is judged all the same, and nanoseconds of a timespec never are negative.
    let seconds = u64::try_from(resolution.tv_sec).unwrap_or(u64::MAX);
    let ns = seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(resolution.tv_nsec).unwrap_or(0));
    let source = subject.read("sys/devices/system/clocksource/clocksource0/current_clocksource");
    judge_clock(ns, source.as_deref())
}

fn judge_clock(resolution_ns: u64, source: Option<&str>) -> Finding {
    let message = format!("the monotonic clock ({}) counts in {resolution_ns} ns", source.unwrap_or("unknown source"));
    match (resolution_ns, source) {
        (1_000_001.., _) => {
            Finding::fail(message, "pulses would be milliseconds off: use a kernel with CONFIG_HIGH_RES_TIMERS")
        }
        (_, Some("jiffies")) => {
            Finding::fail(message, "the kernel found no hardware clock: see `dmesg | grep clocksource`")
        }
        (_, Some("hpet" | "acpi_pm")) => {
            Finding::warn(message, "reading it is slow: see `dmesg | grep clocksource` for why tsc was given up")
        }
        _ => Finding::ok(message),
    }
}

pub(super) fn wall_clock(_subject: &Subject) -> Finding {
    judge_wall_clock(SystemTime::now())
}

fn judge_wall_clock(now: SystemTime) -> Finding {
    // Pulses do not depend on it; recipes, events and certificates do.
    let date = humantime::format_rfc3339_seconds(now);
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) if since >= EARLIEST => Finding::ok(format!("it is {date}")),
        _ => Finding::warn(
            format!("the clock says {date}, which is before this program was made"),
            "set it (`timedatectl set-ntp true`), and look at the battery of the real-time clock",
        ),
    }
}

pub(super) fn realtime(subject: &Subject) -> Finding {
    let Some(config) = subject.config() else { return Finding::without_config() };
    judge_priority(config.realtime.priority, realtime::fifo_priority_max())
}

fn judge_priority(wanted: Option<u8>, permitted: u64) -> Finding {
    match wanted {
        None => Finding::warn(
            "[realtime] priority = 0: pulses wait for whatever else runs",
            "set it to 40 where pulses must be exact under load",
        ),
        Some(wanted) if u64::from(wanted) <= permitted => Finding::ok(format!("SCHED_FIFO {wanted} is permitted here")),
        Some(wanted) => Finding::warn(
            format!("SCHED_FIFO {wanted} is not permitted here (RLIMIT_RTPRIO is {permitted})"),
            format!(
                "the unit has LimitRTPRIO: see `zoomgate status` for what the daemon got. For a shell, a line \
                 `@zoomgate - rtprio {wanted}` in /etc/security/limits.conf"
            ),
        ),
    }
}

pub(super) fn memory_lock(subject: &Subject) -> Finding {
    let Some(config) = subject.config() else { return Finding::without_config() };
    match (config.realtime.lock_memory, realtime::may_lock_everything()) {
        (true, true) => Finding::ok("memory may be locked here"),
        (false, _) => Finding::ok("[realtime] lock_memory = false: memory is not locked"),
        (true, false) => Finding::warn(
            "memory may not be locked here (RLIMIT_MEMLOCK is too small)",
            "the unit has LimitMEMLOCK=infinity: see `zoomgate status` for what the daemon got. For a shell, a line \
             `@zoomgate - memlock unlimited` in /etc/security/limits.conf",
        ),
    }
}

pub(super) fn cpu(subject: &Subject) -> Finding {
    let info = subject.read("proc/cpuinfo").unwrap_or_default();
    let features = info.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
    let features: Vec<&str> = features
        .and_then(|line| line.split_once(':'))
        .map_or(Vec::new(), |(_, words)| words.split_whitespace().collect());
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    // The widest first: names of the kernel's cpuinfo for x86-64, aarch64 and armv7.
    let known = ["avx512f", "avx2", "asimddp", "asimd", "neon", "sse4_1"];
    let best = known.into_iter().find(|feature| features.contains(feature));
    let message = format!("{cores} cores, {}", best.unwrap_or("no vector unit that is known"));
    match (best, cores) {
        (None | Some("sse4_1"), _) => Finding::warn(
            message,
            "inspections will be several times slower than on a processor with AVX2 or NEON: measure before the belt runs",
        ),
        (_, 1) => Finding::warn(message, "capture, inspection and pulses share one core: use a board with four"),
        _ => Finding::ok(message),
    }
}

pub(super) fn temperature(subject: &Subject) -> Finding {
    let zones = subject.glob("sys/class/thermal", "thermal_zone", "temp");
    let degrees = zones.iter().filter_map(|zone| std::fs::read_to_string(zone).ok()?.trim().parse::<f64>().ok());
    // The kernel counts in thousandths of a degree.
    let Some(hottest) = degrees.map(|milli| milli / 1000.0).max_by(f64::total_cmp) else {
        return Finding::ok("this machine tells no temperature");
    };
    let message = format!("{hottest:.0} °C at the hottest sensor");
    let remedy = "give it a heat sink or a fan, or a cooler place: it slows down when it gets hotter";
    match hottest {
        HOT.. => Finding::fail(message, remedy),
        WARM.. => Finding::warn(message, remedy),
        _ => Finding::ok(message),
    }
}

/// Whether the processor is slowed down on purpose: by a weak supply, by heat, or by its governor.
pub(super) fn power(subject: &Subject) -> Finding {
    // Bits of the Raspberry Pi's firmware: documentation, `vcgencmd get_throttled`; 16 bits higher for "has happened".
    let throttled = subject.read("sys/devices/platform/soc/soc:firmware/get_throttled");
    let throttled = throttled.and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()).unwrap_or(0);
    let supply = "use the supply that came with the board, and a short cable";
    let cooling = "cool it: it is slower than it was when the recipe was measured";
    let cases = [
        (0x1, "the supply's voltage is too low now", supply, true),
        (0xE, "the processor is slowed down now", cooling, true),
        (0x1_0000, "the supply's voltage was too low since the start", supply, false),
        (0xE_0000, "the processor was slowed down since the start", cooling, false),
    ];
    if let Some((_, message, remedy, is_now)) = cases.into_iter().find(|(bits, ..)| throttled & bits != 0) {
        return if is_now { Finding::fail(message, remedy) } else { Finding::warn(message, remedy) };
    }
    match subject.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").as_deref() {
        Some("powersave") => Finding::warn(
            "the processor saves power (governor powersave)",
            "set another: `echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor`",
        ),
        governor => Finding::ok(format!("not slowed down (governor {})", governor.unwrap_or("none"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    #[test]
    fn clocks_are_judged_by_resolution_and_source() {
        for (ns, source, outcome) in [
            (1, Some("tsc"), Outcome::Ok),
            (1, Some("arch_sys_counter"), Outcome::Ok),
            (1, None, Outcome::Ok),
            (1, Some("hpet"), Outcome::Warn),
            (1, Some("jiffies"), Outcome::Fail),
            (4_000_000, Some("tsc"), Outcome::Fail),
        ] {
            assert_eq!(judge_clock(ns, source).outcome, outcome, "{ns} {source:?}");
        }
        for (now, outcome) in [(UNIX_EPOCH, Outcome::Warn), (UNIX_EPOCH + EARLIEST, Outcome::Ok)] {
            assert_eq!(judge_wall_clock(now).outcome, outcome);
        }
    }

    #[test]
    fn priorities_are_judged_by_the_limit() {
        for (wanted, permitted, outcome) in [
            (Some(40), 99, Outcome::Ok),
            (Some(40), 40, Outcome::Ok),
            (Some(40), 0, Outcome::Warn),
            (None, 99, Outcome::Warn),
        ] {
            assert_eq!(judge_priority(wanted, permitted).outcome, outcome, "{wanted:?} of {permitted}");
        }
    }
}
