//! What `zt-run` prints without an engine: help and errors, word for word.

#[test]
fn help_and_errors_read_as_recorded() {
    trycmd::TestCases::new()
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .env("COLUMNS", "100")
        .case("tests/cmd/*.trycmd");
}
