//! The revision that the program tells, in every kind of folder that sources can lie in.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

#[path = "../../build/revision.rs"]
mod revision;

const ONE: &str = "1111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222";

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, format!("{text}\n")).expect("written");
    }
    folder
}

/// The revision of a folder and the names of what it was read from.
fn found(sources: &Path) -> (Option<String>, Vec<String>) {
    let found = revision::find(sources);
    for file in &found.read {
        assert!(file.exists(), "{} would have everything built again each time", file.display());
    }
    let name = |file: &Path| file.file_name().expect("a name").to_string_lossy().into_owned();
    (found.revision, found.read.iter().map(|file| name(file)).collect())
}

#[test]
fn a_branch_has_the_revision_of_its_own_file_even_where_an_older_one_is_packed() {
    let packed = format!("# pack-refs with: peeled\n{TWO} refs/heads/main");
    let checkout = folder(&[
        (".git/HEAD", "ref: refs/heads/main"),
        (".git/refs/heads/main", ONE),
        (".git/packed-refs", &packed),
    ]);
    assert_eq!(found(checkout.path()), (Some(ONE[..12].to_owned()), vec!["HEAD".into(), "main".into()]));
}

#[test]
fn a_branch_that_is_packed_is_looked_at_again_when_it_gets_a_file_of_its_own() {
    let packed =
        format!("# pack-refs with: peeled\n{ONE} refs/heads/maintenance\n{TWO} refs/heads/main\n^{ONE}");
    let checkout = folder(&[
        (".git/HEAD", "ref: refs/heads/main"),
        (".git/packed-refs", &packed),
        (".git/refs/heads/other", ONE),
    ]);
    let read = ["HEAD", "heads", "packed-refs"].map(str::to_owned).to_vec();
    assert_eq!(found(checkout.path()), (Some(TWO[..12].to_owned()), read));
}

#[test]
fn a_commit_can_be_checked_out_without_a_branch() {
    let checkout = folder(&[(".git/HEAD", TWO)]);
    assert_eq!(found(checkout.path()), (Some(TWO[..12].to_owned()), vec!["HEAD".into()]));
}

#[test]
fn a_worktree_has_a_head_of_its_own_and_shares_its_branches() {
    let all = folder(&[
        ("main/.git/HEAD", "ref: refs/heads/main"),
        ("main/.git/refs/heads/main", ONE),
        ("main/.git/refs/heads/other", TWO),
        ("main/.git/worktrees/other/HEAD", "ref: refs/heads/other"),
        ("main/.git/worktrees/other/commondir", "../.."),
        ("other/.git", "gitdir: ../main/.git/worktrees/other"),
    ]);
    let read = [".git", "HEAD", "other"].map(str::to_owned).to_vec();
    assert_eq!(found(&all.path().join("other")), (Some(TWO[..12].to_owned()), read));
}

#[test]
fn sources_without_git_have_no_revision_though_they_lie_in_anothers_checkout() {
    let other = folder(&[
        (".git/HEAD", "ref: refs/heads/main"),
        (".git/refs/heads/main", ONE),
        ("vendor/proxy/Cargo.toml", ""),
    ]);
    assert_eq!(found(&other.path().join("vendor/proxy")), (None, Vec::new()));
}

#[test]
fn what_makes_no_sense_is_no_revision() {
    for head in
        ["", "ref: refs/heads/main", "1111", "ref: ", "not a commit at all, though it is forty letters long"]
    {
        let checkout = folder(&[(".git/HEAD", head)]);
        assert_eq!(found(checkout.path()).0, None, "{head}");
    }
}

#[test]
fn the_program_tells_the_commit_that_git_itself_tells() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO_BIN_EXE_billing-insights-proxy")).arg("--version").output();
    let told = String::from_utf8(output.expect("the program").stdout).expect("text");
    assert!(
        told.starts_with(concat!("billing-insights-proxy ", env!("CARGO_PKG_VERSION"), " (revision ")),
        "{told}"
    );
    if sources.join(".git").exists()
        && let Ok(git) = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(sources).output()
        && git.status.success()
    {
        let commit = String::from_utf8_lossy(&git.stdout);
        assert!(told.contains(&format!("(revision {})", &commit[..12])), "{told} is not {commit}");
    }
}
