
fn main() {
    let input = std::io::read_to_string(std::io::stdin()).unwrap();
    let mut lines = input.lines();
    while let Some(line) = lines.next() {
        let now: i64 = line.parse().unwrap();
        let count: usize = lines.next().unwrap().parse().unwrap();
        let secrets: Vec<&str> = lines.by_ref().take(count).collect();
        let count: usize = lines.next().unwrap().parse().unwrap();
        let headers: std::collections::HashMap<&str, &str> = lines.by_ref().take(count).map(|line| line.split_once(' ').unwrap()).collect();
        let text = lines.next().unwrap();
        let body: Vec<u8> = (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect();
        let _ = now;
        println!("{}", verify(|name| headers.get(name).copied(), &body, &secrets NOW));
    }
}
