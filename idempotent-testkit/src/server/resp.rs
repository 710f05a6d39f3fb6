use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{Endpoint, ServerError};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends one command over a connection of its own, and returns the reply as text: one line for
/// each element of an array, and nothing for nil.
pub(super) fn ask(endpoint: &Endpoint, command: &[&str]) -> Result<String, ServerError> {
    match endpoint {
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            exchange(stream, command)
        }
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            exchange(stream, command)
        }
    }
}

fn exchange(mut stream: impl Read + Write, command: &[&str]) -> Result<String, ServerError> {
    let mut request = Vec::new();
    write!(request, "*{}\r\n", command.len())?;
    for argument in command {
        write!(request, "${}\r\n{argument}\r\n", argument.len())?;
    }
    stream.write_all(&request)?;

    let mut text = String::new();
    match read(&mut BufReader::new(stream), &mut text)? {
        Ok(()) => Ok(text),
        Err(reply) => {
            let command = command.first().copied().unwrap_or_default().to_owned();
            Err(ServerError::Refused { command, reply })
        }
    }
}

/// Reads one reply. The inner error is the server's.
fn read(stream: &mut impl BufRead, text: &mut String) -> io::Result<Result<(), String>> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let Some((kind, rest)) = line.trim_end().split_at_checked(1) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let length = || rest.parse::<i64>().map_err(io::Error::other);
    match kind {
        "-" => return Ok(Err(rest.to_owned())),
        "$" => {
            if let Ok(length) = usize::try_from(length()?) {
                let mut bytes = vec![0; length + 2];
                stream.read_exact(&mut bytes)?;
                text.push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        }
        "*" => {
            for _ in 0..length()? {
                if let Err(error) = read(stream, text)? {
                    return Ok(Err(error));
                }
                text.push('\n');
            }
        }
        _ => text.push_str(rest),
    }
    Ok(Ok(()))
}
