//! An open load: requests are sent at fixed times, whatever the responses.
//!
//! ```text
//! load ADDR CONNECTIONS RATE SECONDS
//! ```
//!
//! Sends `RATE` GET requests per second at even intervals, over connections in turn. The latency of a request is measured from
//! its scheduled time, so it includes the wait for its connection. Standard output has one line for each request, in the format
//! of `h2load --log-file`: the time (microseconds since the epoch), the status (0 if the connection broke), and the latency in
//! microseconds.

use std::{
    error::Error,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

struct Sample {
    due: Duration,
    status: u16,
    latency: Duration,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, rate, seconds] = args.as_slice() else { return Err("four arguments".into()) };
    let (connections, rate, seconds): (u32, f64, f64) = (connections.parse()?, rate.parse()?, seconds.parse()?);

    // All connections are open before this time is over.
    let lead = Duration::from_millis(200);
    let (start, start_by_the_wall) = (Instant::now() + lead, SystemTime::now().duration_since(UNIX_EPOCH)? + lead);
    let samples = thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|turn| {
                let due = (turn..)
                    .step_by(connections as usize)
                    .map(move |nth| Duration::from_secs_f64(f64::from(nth) / rate))
                    .take_while(move |due| due.as_secs_f64() < seconds);
                scope.spawn(move || send(address, start, due))
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect::<Vec<_>>()
    });

    let mut out = BufWriter::new(io::stdout().lock());
    for Sample { due, status, latency } in samples {
        writeln!(out, "{}\t{status}\t{}", (start_by_the_wall + due).as_micros(), latency.as_micros())?;
    }
    Ok(out.flush()?)
}

fn send(address: &str, start: Instant, dues: impl Iterator<Item = Duration>) -> Vec<Sample> {
    let request = format!("GET /fhir/Patient/123 HTTP/1.1\r\nHost: {address}\r\nAccept: application/fhir+json\r\n\r\n");
    let mut connection = None;
    dues.map(|due| {
        thread::sleep((start + due).saturating_duration_since(Instant::now()));
        let status = match &mut connection {
            Some(open) => exchange(open, &request),
            None => connect(address).and_then(|open| exchange(connection.insert(open), &request)),
        };
        if status.is_err() {
            connection = None;
        }
        Sample { due, status: status.unwrap_or(0), latency: (start + due).elapsed() }
    })
    .collect()
}

fn connect(address: &str) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(BufReader::new(stream))
}

/// Sends a request, reads the whole response and returns its status. The responses have a declared length.
fn exchange(connection: &mut BufReader<TcpStream>, request: &str) -> io::Result<u16> {
    connection.get_mut().write_all(request.as_bytes())?;
    let (mut status, mut length) = (None, 0);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if status.is_none() {
            status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
            status.ok_or(io::ErrorKind::InvalidData)?;
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        }
    }
    io::copy(&mut connection.take(length), &mut io::sink())?;
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
