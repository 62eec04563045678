//! A guest that tries what a script tells it to, and prints what came of it.
//!
//! Each line of the variable `SCRIPT` is a command; each prints one line to stdout.

use std::{
    env, fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

fn main() {
    let script = env::var("SCRIPT").expect("a script");
    for line in script.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match attempt(&words) {
            Ok(text) => println!("{} {text}", words[0]),
            Err(error) => println!("{} failed: {:?}", words[0], error.kind()),
        }
    }
}

fn attempt(words: &[&str]) -> std::io::Result<String> {
    Ok(match *words {
        ["env"] => env::vars()
            .filter(|(key, _)| key != "SCRIPT")
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(","),
        ["args"] => env::args().count().to_string(),
        ["stdin"] => std::io::stdin().read(&mut [0; 16])?.to_string(),
        ["stderr", text] => {
            eprintln!("{text}");
            String::new()
        }
        ["read", path] => fs::read_to_string(path)?,
        ["write", path, text] => {
            fs::write(path, text)?;
            "done".to_owned()
        }
        ["list", path] => fs::read_dir(path)?.count().to_string(),
        ["mkdir", path] => fs::create_dir(path).map(|()| "done".to_owned())?,
        ["remove", path] => fs::remove_file(path).map(|()| "done".to_owned())?,
        ["rename", from, to] => fs::rename(from, to).map(|()| "done".to_owned())?,
        ["link", from, to] => fs::hard_link(from, to).map(|()| "done".to_owned())?,
        ["open", count, path] => {
            let count: usize = count.parse().unwrap();
            let mut files = Vec::new();
            while files.len() < count {
                match fs::File::open(path) {
                    Ok(file) => files.push(file),
                    Err(_) => break,
                }
            }
            files.len().to_string()
        }
        ["reopen", count, path] => {
            let count: usize = count.parse().unwrap();
            for _ in 0..count {
                fs::File::open(path)?;
            }
            count.to_string()
        }
        ["tcp", address, text] => {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(text.as_bytes())?;
            let mut answer = vec![0; text.len()];
            stream.read_exact(&mut answer)?;
            String::from_utf8(answer).unwrap()
        }
        ["connect", count, address] => {
            let count: usize = count.parse().unwrap();
            let mut streams = Vec::new();
            while streams.len() < count {
                match TcpStream::connect(address) {
                    Ok(stream) => streams.push(stream),
                    Err(_) => break,
                }
            }
            streams.len().to_string()
        }
        ["reconnect", count, address] => {
            let count: usize = count.parse().unwrap();
            for _ in 0..count {
                TcpStream::connect(address)?;
            }
            count.to_string()
        }
        ["send", address, count] => {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(&vec![b'x'; count.parse().unwrap()])?;
            "done".to_owned()
        }
        ["listen", address] => TcpListener::bind(address).map(|_| "done".to_owned())?,
        ["udp", address] => UdpSocket::bind(address).map(|_| "done".to_owned())?,
        ["lookup", name] => name.to_socket_addrs()?.count().to_string(),
        ["clock"] => {
            let (start, wall) = (Instant::now(), SystemTime::now());
            let mut sum = 0_u64;
            for i in 0..1_000_000 {
                sum = std::hint::black_box(sum + i);
            }
            let since = wall.duration_since(UNIX_EPOCH).unwrap();
            format!("{} {}", since.as_secs(), start.elapsed().as_nanos())
        }
        ["sleep", millis] => {
            let (start, wall) = (Instant::now(), SystemTime::now());
            let span = Duration::from_millis(millis.parse().unwrap());
            // As event loops do it: until the clock shows it.
            while start.elapsed() < span {
                thread::sleep(span - start.elapsed());
            }
            format!("{} {}", start.elapsed().as_millis(), wall.elapsed().unwrap().as_millis())
        }
        ["exit"] => std::process::exit(3),
        ["panic"] => panic!("asked to"),
        _ => panic!("unknown command {words:?}"),
    })
}
