//! Every test that docs/faults.md names exists.

use std::path::Path;

fn sources(directory: &Path, all: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_the_table_of_faults_names_exists() {
    let mut all = String::new();
    sources(Path::new("tests"), &mut all);
    sources(Path::new("src"), &mut all);
    sources(Path::new("crates"), &mut all);
    let table = std::fs::read_to_string("docs/faults.md").unwrap();
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    let mut names = 0;
    for row in rows {
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names_tests = |name: &&str| !name.contains('/');
        for name in cell.split('`').skip(1).step_by(2).filter(names_tests) {
            assert!(
                all.contains(&format!("fn {name}(")),
                "no test is called {name}"
            );
            names += 1;
        }
    }
    assert!(names > 20, "{names} tests");
}
