//! A guest that tries what a script tells it to, and prints what came of it.
//!
//! Each line of the variable `SCRIPT` is a command; each prints one line to stdout.

use std::{
    env, fs,
    io::{Read, Seek, Write},
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
        // Stops at the first failure and says how far it came.
        ["append", path, count, times] => {
            let piece = vec![b'x'; count.parse().unwrap()];
            let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
            let times: usize = times.parse().unwrap();
            (0..times).take_while(|_| file.write_all(&piece).is_ok()).count().to_string()
        }
        ["grow", path, size] => {
            let file = fs::OpenOptions::new().create(true).write(true).open(path)?;
            file.set_len(size.parse().unwrap()).map(|()| "done".to_owned())?
        }
        ["overwrite", path, at, text] => {
            let mut file = fs::OpenOptions::new().write(true).open(path)?;
            file.seek(std::io::SeekFrom::Start(at.parse().unwrap()))?;
            file.write_all(text.as_bytes()).map(|()| "done".to_owned())?
        }
        ["make", kind, folder, count] => {
            let make = |number: usize| {
                let path = format!("{folder}/{kind}-{number}");
                match kind {
                    "file" => fs::File::create(path).map(|_| ()),
                    "folder" => fs::create_dir(path),
                    "link" => fs::hard_link(format!("{folder}/file"), path),
                    #[allow(deprecated)]
                    "symlink" => fs::soft_link("nowhere", path),
                    _ => panic!("unknown kind"),
                }
            };
            let count: usize = count.parse().unwrap();
            (0..count).take_while(|number| make(*number).is_ok()).count().to_string()
        }
        #[allow(deprecated)]
        ["symlink", to, path] => fs::soft_link(to, path).map(|()| "done".to_owned())?,
        // Files that are deleted while they are open.
        ["hoard", folder, count, size] => {
            let mut held = Vec::new();
            for number in 0..count.parse().unwrap() {
                let path = format!("{folder}/hoard-{number}");
                let made = fs::File::create(&path);
                let kept = made.and_then(|mut file| {
                    file.write_all(&vec![0; size.parse().unwrap()]).map(|()| file)
                });
                fs::remove_file(&path).ok();
                match kept {
                    Ok(file) => held.push(file),
                    Err(_) => break,
                }
            }
            held.len().to_string()
        }
        ["churn", folder, count, size] => {
            let path = format!("{folder}/churn");
            for _ in 0..count.parse().unwrap() {
                fs::write(&path, vec![0; size.parse().unwrap()])?;
                fs::remove_file(&path)?;
            }
            "done".to_owned()
        }
        ["mtime", path] => {
            let modified = fs::metadata(path)?.modified()?;
            modified.duration_since(UNIX_EPOCH).unwrap().as_secs().to_string()
        }
        ["long", folder, length] => {
            let path = format!("{folder}/{}file", "./".repeat(length.parse().unwrap()));
            fs::read_to_string(path)?
        }
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
