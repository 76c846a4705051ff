//! Which revision is being built, read from git's own files.
//!
//! Git's program is not asked: where the sources are built it is often absent (a container), or refuses to speak of a
//! folder that is another user's. And the files that were read are the ones that tell when to look again.

use std::fs;
use std::path::{Path, PathBuf};

/// The revision, and what it was read from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The commit that is checked out; none where there is no git, or its files make no sense.
    pub(crate) revision: Option<String>,
    /// What changes when another commit is checked out or made. All of it exists: what does not would have
    /// everything built again each time.
    pub(crate) read: Vec<PathBuf>,
}

/// As many digits of a commit as are told.
const DIGITS: usize = 12;

/// The revision of a source folder. A folder that only lies inside another project's checkout has none.
pub(crate) fn find(sources: &Path) -> Found {
    let mut read = Vec::new();
    let revision = commit(&sources.join(".git"), &mut read).map(|commit| commit[..DIGITS].to_owned());
    Found { revision, read }
}

fn commit(git: &Path, read: &mut Vec<PathBuf>) -> Option<String> {
    let own = own_folder(git, read)?;
    let head = text(&own.join("HEAD"), read)?;
    let Some(name) = head.strip_prefix("ref: ") else { return is_commit(&head).then_some(head) };
    // Branches are common to all worktrees, and so is the folder where they are.
    let shared = match text(&own.join("commondir"), &mut Vec::new()) {
        Some(shared) => own.join(shared),
        None => own,
    };
    let loose = shared.join(name);
    if let Some(commit) = text(&loose, read) {
        return is_commit(&commit).then_some(commit);
    }
    // The next commit puts the branch into a file of its own, which is a change of its folder.
    read.extend(loose.ancestors().skip(1).find(|folder| folder.is_dir()).map(Path::to_owned));
    let packed = text(&shared.join("packed-refs"), read)?;
    let mut lines = packed.lines().filter_map(|line| line.split_once(' '));
    let (commit, _) = lines.find(|(_, packed)| *packed == name)?;
    is_commit(commit).then(|| commit.to_owned())
}

/// The folder of a checkout; that of a worktree is named in a file.
fn own_folder(git: &Path, read: &mut Vec<PathBuf>) -> Option<PathBuf> {
    if git.is_dir() {
        return Some(git.to_owned());
    }
    let file = text(git, read)?;
    Some(git.parent()?.join(file.strip_prefix("gitdir: ")?))
}

fn text(file: &Path, read: &mut Vec<PathBuf>) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    read.push(file.to_owned());
    Some(text.trim().to_owned())
}

fn is_commit(text: &str) -> bool {
    text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
