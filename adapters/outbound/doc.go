// Package outbound is the guarded HTTP/1.1 client behind every destination type that posts to an address which a tenant
// chose. It is the hot path of the server, so it is written for one job: few allocations and system calls a post, and no
// goroutine per connection.
//
// What it promises:
//
//   - Every address is checked when it is dialled, after DNS, against the ranges that must not be reached from here
//     (guard.go). Redirects are never followed and proxies never used, so nothing else is ever dialled.
//   - A request is sent at most once per call. There is no retry after a byte of it has left this process. A pooled
//     connection that the other side closed while it was idle is noticed before it is used (alive_peek.go), and
//     connections are given up before the receiver's own Keep-Alive limit, which together leave only the moment in
//     which a close is on its way. A request that falls into it fails as any other lost connection does, and the retry
//     policy decides: whether the receiver has worked on it cannot be known here.
//   - The deadline covers the whole exchange: name, connection, TLS, request, answer and its body. A canceled context
//     ends it at once.
//   - An answer costs at most MaxRead bytes of reading and adapters.MaxBodyKept of memory, compressed or not.
//   - Errors are *adapters.Error. Neither they nor receipts hold a masked header's value.
//
// It speaks to one host per Client. A Client belongs to one destination, so what one receiver does to its connections
// cannot harm another's.
//
// fasthttp's HostClient was the starting point and the yardstick (bench_test.go compares the two, and net/http). It is
// not used because it cannot tell a fresh connection from a reused one, does not watch a context, hides the time of the
// first byte, drops the status of an answer whose body is over the limit, and reads a whole body before it can be
// judged. The exchange below does all of that, and makes a receipt, for about the same cost: less than half of net/http's.
//
// Destination types that speak another protocol, or HTTP through a client of their own, take the Dialer, which is guarded
// in the same way, and Explain, which words the errors of such clients as this package words its own.
package outbound
