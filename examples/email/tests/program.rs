//! No mail goes out twice, whatever happens to its sender.

use std::process::Command;

#[test]
fn a_sender_that_is_killed_leaves_a_doubt_and_no_second_mail() {
    let output = Command::new(env!("CARGO_BIN_EXE_email")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();

    let said = |line: &str| text.lines().filter(|said| said.starts_with(line)).count();
    assert_eq!(said("ada: mail 1, sent now"), 1, "{text}");
    assert_eq!(said("ada: mail 1, sent before"), 1, "{text}");
    for name in ["bob", "eve"] {
        assert_eq!(
            said(&format!("{name}: not sent: nobody knows")),
            1,
            "{text}"
        );
    }
    assert_eq!(said("bob: mail 2, sent before"), 1, "{text}");
    assert_eq!(said("eve: mail 3, sent now"), 1, "{text}");

    let (_, outbox) = text.split_once("The outbox:\n").unwrap();
    assert_eq!(outbox, "ada: invoice 7\nbob: invoice 7\neve: invoice 7\n");
}
