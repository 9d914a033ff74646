//! A port reserved for one test.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port of the loopback address, bound without listening: connections are refused until a server of the test uses it. Servers reuse
/// addresses by default, and the system never assigns a bound port to others.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    socket: Socket,
}

impl ReservedPort {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).unwrap();
        Self { socket }
    }

    /// Its address, valid while this value lives.
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap().as_socket().unwrap()
    }

    /// The URL of a server there.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}
