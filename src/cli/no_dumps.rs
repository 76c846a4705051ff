//! Disables core dumps: a dump writes the memory of the process, tokens and secrets included, to a disk.

/// Disables core dumps; on Linux this also prevents other processes of the same user from reading this process's
/// memory.
///
/// A failure is returned as text for the log; the proxy serves nevertheless.
pub(super) fn forbid() -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|error| format!("the limit can't be set ({error})"))?;
    not_dumpable().map_err(|error| format!("the process stays dumpable ({error})"))
}

/// The resource limit does not apply if the kernel pipes dumps to a program (`core_pattern`); this setting does.
#[cfg(target_os = "linux")]
fn not_dumpable() -> std::io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(not(target_os = "linux"))]
fn not_dumpable() -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    #[test]
    fn there_are_no_dumps_afterwards_and_they_can_not_be_turned_on_again() {
        super::forbid().expect("it can be set");
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        assert!(matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable)));
    }
}
