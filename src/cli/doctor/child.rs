//! This program again, in a process of its own: a driver that crashes or hangs there costs the report one line.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Runs this program with arguments that make it print JSON; why there is none, if so.
pub fn ask(arguments: &[&str], patience: Duration) -> Result<Value, String> {
    let program = std::env::current_exe().map_err(|error| format!("the program can't find itself: {error}"))?;
    run(Command::new(program).args(arguments), patience)
}

fn run(command: &mut Command, patience: Duration) -> Result<Value, String> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("it could not be started: {error}"))?;
    let (said, complained) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let start = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if start.elapsed() > patience => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("no answer within {} seconds", patience.as_secs()));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error.to_string()),
        }
    };
    let [said, complained] = [said, complained].map(|reader| reader.join().unwrap_or_default());
    match serde_json::from_str(&said) {
        Ok(value) if status.success() => Ok(value),
        _ => Err(failure(status, &complained)),
    }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The program's own error if it gave one, else how it ended and the last thing anybody said there.
fn failure(status: ExitStatus, complained: &str) -> String {
    let lines: Vec<&str> = complained.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let Some(error) = lines.iter().rev().find_map(|line| line.strip_prefix("error: ")) {
        return error.to_owned();
    }
    // A panic says where and then why; what follows is advice.
    let panic = lines.iter().position(|line| line.contains("panicked at")).and_then(|at| lines.get(at + 1));
    match panic.or(lines.last()) {
        Some(line) => format!("the process ended with {status}: {line}"),
        None => format!("the process ended with {status}"),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str) -> Result<Value, String> {
        run(Command::new("sh").args(["-c", script]), Duration::from_millis(500))
    }

    #[test]
    fn an_answer_an_error_a_crash_and_a_hang_are_told_apart() {
        assert_eq!(sh("echo '{\"a\": 1}'").unwrap()["a"], 1);
        assert_eq!(sh("echo 'error: no such adapter' >&2; exit 2").unwrap_err(), "no such adapter");
        assert!(sh("kill -SEGV $$").unwrap_err().contains("signal: 11"));
        assert_eq!(sh("exec sleep 60").unwrap_err(), "no answer within 0 seconds");
        assert!(sh("true").unwrap_err().starts_with("the process ended with exit status: 0"));
        let panic =
            sh("printf \"thread 'main' panicked at src/a.rs:1:\\nnot cached\\nnote: run with\\n\" >&2; exit 101");
        assert!(panic.unwrap_err().ends_with(": not cached"));
    }
}
