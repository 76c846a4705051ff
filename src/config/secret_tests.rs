use super::*;

fn directory_with(name: &str, content: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join(name), content).expect("written");
    directory
}

fn read(content: &[u8]) -> Result<String, String> {
    let directory = directory_with("key", content);
    let read = SecretSource::File("key".into()).read(directory.path(), &Environment::empty());
    read.map(|secret| secret.expose().to_owned()).map_err(|error| error.reason.to_string())
}

#[test]
fn one_newline_at_the_end_is_not_part_of_a_secret() {
    assert_eq!(read(b"abc\n"), Ok("abc".to_owned()));
    assert_eq!(read(b"abc\r\n"), Ok("abc".to_owned()));
    assert_eq!(read(b" abc \n\n"), Ok(" abc \n".to_owned()));
}

#[test]
fn what_can_not_be_a_secret_is_unavailable() {
    assert_eq!(read(b""), Err("it is empty".to_owned()));
    assert_eq!(read(b"\n"), Err("it is empty".to_owned()));
    assert_eq!(read(b"\xff"), Err("it is not UTF-8 text".to_owned()));
    assert!(read(&vec![b'a'; MAX_BYTES]).is_ok());
    assert!(read(&vec![b'a'; MAX_BYTES + 1]).is_err());
    assert!(read(&vec![b'a'; MAX_BYTES * 3]).is_err());
    let directory = tempfile::tempdir().expect("a directory");
    let of_directory = SecretSource::File(".".into()).read(directory.path(), &Environment::empty());
    assert_eq!(&*of_directory.expect_err("a directory").reason, "it is not a regular file");
}

#[test]
fn a_relative_name_is_looked_up_in_the_directory_of_systemd_first() {
    let (systemd, beside) = (directory_with("a", b"systemd"), directory_with("a", b"beside"));
    std::fs::write(beside.path().join("b"), "beside too").expect("written");
    let credentials = systemd.path().as_os_str().to_owned();
    let environment =
        Environment::new(move |name| (name == "CREDENTIALS_DIRECTORY").then(|| credentials.clone()));
    let read = |path: &Path| {
        let secret = SecretSource::File(path.to_owned()).read(beside.path(), &environment);
        secret.expect("a secret").expose().to_owned()
    };
    assert_eq!(read(Path::new("a")), "systemd");
    assert_eq!(read(Path::new("b")), "beside too");
    assert_eq!(read(&beside.path().join("a")), "beside");
}

#[test]
fn a_variable_that_is_not_set_says_its_name() {
    let source = SecretSource::Environment("ACME".to_owned());
    let error = source.read(Path::new("/"), &Environment::empty()).expect_err("not set");
    assert_eq!(error.to_string(), "environment variable ACME: the variable is not set; set it and restart");
    assert!(source.read(Path::new("/"), &Environment::new(|_| Some("".into()))).is_err());
}

#[test]
fn a_secret_does_not_show_itself() {
    assert_eq!(format!("{:?}", Secret::new("abc")), "Secret(redacted)");
}
