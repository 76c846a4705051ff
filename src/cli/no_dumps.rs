//! A core dump is the process's memory on a disk, tokens and secrets included: there shall be none.

/// Turns core dumps off, and with them that other processes of the same user look into this one's memory.
///
/// Where the system does not let it, the reason is given, for the log; it is no reason not to serve.
pub(super) fn forbid() -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|error| format!("the limit can't be set ({error})"))?;
    not_dumpable().map_err(|error| format!("the process stays dumpable ({error})"))
}

/// The limit does not hold for a program that the system pipes dumps to (`core_pattern`); this does.
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
