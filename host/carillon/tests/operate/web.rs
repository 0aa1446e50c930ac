//! A server of files, as small as HTTP allows.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a path answers.
pub(crate) enum Page {
    File(Vec<u8>),
    Redirect(String),
}

/// Serves pages by path, everything else as 404; answers the address.
pub(crate) async fn serve(pages: HashMap<&'static str, Page>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let pages = Arc::new(pages);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket, Arc::clone(&pages)));
        }
    });
    address
}

async fn answer(mut socket: TcpStream, pages: Arc<HashMap<&'static str, Page>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = socket.read_u8().await else {
            return;
        };
        request.push(byte);
    }
    let request = String::from_utf8(request).unwrap();
    let target = request.split(' ').nth(1).unwrap();
    let path = target.split('?').next().unwrap();
    let (head, body) = match pages.get(path) {
        Some(Page::File(bytes)) => ("200 OK".to_owned(), bytes.as_slice()),
        Some(Page::Redirect(to)) => (format!("302 Found\r\nlocation: {to}"), &b""[..]),
        None => ("404 Not Found".to_owned(), &b"nothing here"[..]),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
}
