//! Limits the memory of pages in transfer. A tick's pages live until the last client has received them, so slow clients would keep those of
//! many ticks in memory. Above the limit, the clients of the oldest page are disconnected.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;

/// Maximum bytes of all pages in transfer. The largest possible page, for 128 engines, has 3 MB.
const MOST_HELD: usize = 4 << 20;
/// A smaller page is handed over as a whole: even those of all ticks that a client may take are little memory.
const SMALL: usize = 64 << 10;
/// Bytes handed over at a time, as a copy, so that only this transfer holds the page.
const PIECE: usize = 16 << 10;

/// The pages in transfer, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldPages(Arc<Mutex<Vec<HeldPage>>>);

#[derive(Debug)]
struct HeldPage {
    /// Its identity while it is held.
    address: usize,
    length: usize,
    /// Its clients, notified when they must disconnect.
    readers: Vec<Arc<Notify>>,
}

impl HeldPages {
    /// `response`, whose page is held while it is sent over the connection that `closed` ends.
    pub(super) fn hold(&self, mut response: Response, closed: &Arc<Notify>) -> Response {
        let page = response.extensions_mut().remove::<SharedPage>();
        let Some(SharedPage(page)) = page.filter(|page| page.0.len() > SMALL) else {
            return response;
        };
        self.add(&page, closed);
        response.map(|_| {
            Body::new(PageTransfer {
                page,
                at: 0,
                closed: Arc::clone(closed),
                held: self.clone(),
            })
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<HeldPage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, page: &Bytes, reader: &Arc<Notify>) {
        let mut pages = self.lock();
        let address = page.as_ptr() as usize;
        match pages.iter_mut().find(|known| known.address == address) {
            Some(known) => known.readers.push(Arc::clone(reader)),
            None => pages.push(HeldPage {
                address,
                length: page.len(),
                readers: vec![Arc::clone(reader)],
            }),
        }
        while pages.iter().map(|page| page.length).sum::<usize>() > MOST_HELD && pages.len() > 1 {
            for reader in pages.remove(0).readers {
                reader.notify_one();
            }
        }
    }

    fn remove(&self, page: &Bytes, reader: &Arc<Notify>) {
        let mut pages = self.lock();
        let address = page.as_ptr() as usize;
        if let Some(known) = pages.iter_mut().find(|known| known.address == address) {
            let place = known.readers.iter().position(|it| Arc::ptr_eq(it, reader));
            if let Some(place) = place {
                known.readers.swap_remove(place);
            }
        }
        pages.retain(|page| !page.readers.is_empty());
    }
}

/// The page that a response carries, in its extensions.
#[derive(Clone, Debug)]
pub(super) struct SharedPage(pub(super) Bytes);

/// A page in transfer to one client.
#[derive(Debug)]
struct PageTransfer {
    page: Bytes,
    at: usize,
    closed: Arc<Notify>,
    held: HeldPages,
}

impl hyper::body::Body for PageTransfer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let rest = &self.page[self.at..];
        let piece = &rest[..rest.len().min(PIECE)];
        if piece.is_empty() {
            return Poll::Ready(None);
        }
        let piece = Bytes::copy_from_slice(piece);
        self.at += piece.len();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.page.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.page.len() - self.at) as u64)
    }
}

impl Drop for PageTransfer {
    fn drop(&mut self) {
        self.held.remove(&self.page, &self.closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(page: &Bytes) -> Response {
        let mut response = Response::new(Body::from(page.clone()));
        response.extensions_mut().insert(SharedPage(page.clone()));
        response
    }

    #[tokio::test]
    async fn readers_of_the_oldest_page_give_way() {
        let held = HeldPages::default();
        let pages = [1, 2, 3].map(|tick| Bytes::from(vec![tick; MOST_HELD / 2]));
        let readers = [(); 4].map(|()| Arc::new(Notify::new()));
        let mut reading = Vec::new();
        for (page, reader) in [(0, 0), (1, 1), (1, 2), (2, 3)] {
            reading.push(held.hold(response(&pages[page]), &readers[reader]));
        }
        readers[0].notified().await;
        assert_eq!(held.lock().len(), 2, "the others are read on");
        let last = reading.pop().unwrap().into_body();
        let read = axum::body::to_bytes(last, usize::MAX).await.unwrap();
        assert_eq!(read, pages[2]);
        drop(reading);
        assert!(held.lock().is_empty());
    }

    #[test]
    fn a_small_page_is_handed_over() {
        let held = HeldPages::default();
        let reader = Arc::new(Notify::new());
        let small = Bytes::from(vec![0; SMALL]);
        let _reading = held.hold(response(&small), &reader);
        assert!(held.lock().is_empty());
    }
}
