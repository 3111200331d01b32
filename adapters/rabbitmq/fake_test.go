package rabbitmq

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// fake is the part of an AMQP 0-9-1 broker that a publisher sees. What becomes of a message is decided by the test.
type fake struct {
	password string
	answer   func(*fakeConn, *fakeMessage) // called for every message, in order

	ln       net.Listener
	mu       sync.Mutex
	conns    map[*fakeConn]bool
	accepted int
	messages []*fakeMessage
}

// fakeMessage is a message as it arrived. The tag is its number on its channel, from 1.
type fakeMessage struct {
	channel, tag      uint64
	exchange, key, id string
	contentType       string
	deliveryMode      byte
	timestamp         uint64
	headers           map[string]string
	mandatory         bool
	body, rawHeader   []byte
	conn              *fakeConn
}

type fakeConn struct {
	net.Conn
	f    *fake
	mu   sync.Mutex // of writing
	tags map[uint64]uint64
}

func newFake(tb testing.TB, password string) *fake {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return newFakeOn(tb, ln, password)
}

func newFakeOn(tb testing.TB, ln net.Listener, password string) *fake {
	f := &fake{password: password, ln: ln, conns: map[*fakeConn]bool{}, answer: func(c *fakeConn, m *fakeMessage) { c.ack(m, false) }}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			c := &fakeConn{Conn: nc, f: f, tags: map[uint64]uint64{}}
			f.mu.Lock()
			f.conns[c] = true
			f.accepted++
			f.mu.Unlock()
			running.Go(c.serve)
		}
	})
	tb.Cleanup(func() {
		ln.Close()
		f.cut()
		running.Wait()
	})
	return f
}

// cut closes all connections without a word.
func (f *fake) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.Close()
	}
}

func (f *fake) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

func (f *fake) received() []*fakeMessage {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*fakeMessage(nil), f.messages...)
}

// What a broker says. Numbers are those of the specification's classes and methods.

func (c *fakeConn) ack(m *fakeMessage, multiple bool) {
	c.method(m.channel, 60, 80, m.tag, flag(multiple))
}

func (c *fakeConn) nack(m *fakeMessage) { c.method(m.channel, 60, 120, m.tag, byte(0)) }

// giveBack returns m as unroutable; a broker confirms it besides.
func (c *fakeConn) giveBack(m *fakeMessage) {
	c.method(m.channel, 60, 50, uint16(312), "NO_ROUTE", m.exchange, m.key)
	c.frame(2, m.channel, m.rawHeader)
	c.frame(3, m.channel, m.body)
}

func (c *fakeConn) closeChannel(m *fakeMessage, code uint16, text string) {
	c.method(m.channel, 20, 40, code, text, uint16(60), uint16(40))
}

func (c *fakeConn) closeConnection(code uint16, text string) {
	c.method(0, 10, 50, code, text, uint16(60), uint16(40))
}

func (c *fakeConn) block(reason string) { c.method(0, 10, 60, reason) }
func (c *fakeConn) unblock()            { c.method(0, 10, 61) }

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (c *fakeConn) method(channel uint64, class, id uint16, args ...any) {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, class), id)
	for _, a := range args {
		switch v := a.(type) {
		case byte:
			b = append(b, v)
		case uint16:
			b = binary.BigEndian.AppendUint16(b, v)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, v)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, v)
		case string:
			b = append(append(b, byte(len(v))), v...)
		case []byte: // a long string, or a table
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
		}
	}
	c.frame(1, channel, b)
}

func (c *fakeConn) frame(kind byte, channel uint64, payload []byte) {
	b := binary.BigEndian.AppendUint16([]byte{kind}, uint16(channel))
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Write(append(append(b, payload...), 0xce))
}

func (c *fakeConn) serve() {
	defer func() {
		c.Close()
		c.f.mu.Lock()
		delete(c.f.conns, c)
		c.f.mu.Unlock()
	}()
	br := bufio.NewReader(c)
	hello := make([]byte, 8)
	if _, err := io.ReadFull(br, hello); err != nil || string(hello) != "AMQP\x00\x00\x09\x01" {
		return
	}
	c.method(0, 10, 10, byte(0), byte(9), []byte{}, []byte("PLAIN"), []byte("en_US"))
	var m *fakeMessage
	var size uint64
	for {
		kind, channel, payload, err := readFrame(br)
		if err != nil {
			return
		}
		switch kind {
		case 1:
			f := fields(payload)
			class, id := f.u16(), f.u16()
			if class == 60 && id == 40 {
				f.u16()
				c.tags[channel]++
				m = &fakeMessage{channel: channel, tag: c.tags[channel], exchange: f.short(), key: f.short(), conn: c}
				m.mandatory = f.u8()&1 != 0
			} else if !c.control(channel, class, id, &f) {
				return
			}
		case 2:
			m.rawHeader = payload
			size = m.properties(payload)
		case 3:
			m.body = append(m.body, payload...)
		}
		if m != nil && m.rawHeader != nil && uint64(len(m.body)) >= size {
			c.f.mu.Lock()
			c.f.messages = append(c.f.messages, m)
			answer := c.f.answer
			c.f.mu.Unlock()
			answer(c, m)
			m = nil
		}
	}
}

// control answers everything but messages; false ends the connection.
func (c *fakeConn) control(channel uint64, class, id uint16, f *fields) bool {
	switch fmt.Sprint(class, id) {
	case "10 11":
		f.long()
		f.short()
		if _, pass, _ := strings.Cut(strings.TrimPrefix(string(f.long()), "\x00"), "\x00"); pass != c.f.password {
			return false
		}
		c.method(0, 10, 30, uint16(100), uint32(128<<10), uint16(60))
	case "10 40":
		if vhost := f.short(); vhost == "/none" {
			c.closeConnection(530, "NOT_ALLOWED - vhost /none not found")
			return true
		}
		c.method(0, 10, 41, "")
	case "10 50":
		c.method(0, 10, 51)
		return false
	case "10 51":
		return false
	case "20 10":
		c.tags[channel] = 0
		c.method(channel, 20, 11, []byte{})
	case "20 40":
		c.method(channel, 20, 41)
	case "85 10":
		c.method(channel, 85, 11)
	case "40 10":
		f.u16()
		if name := f.short(); name == "none" {
			c.method(channel, 20, 40, uint16(404), "NOT_FOUND - no exchange 'none' in vhost '/'", uint16(40), uint16(10))
			return true
		}
		c.method(channel, 40, 11)
	}
	return true
}

func readFrame(br *bufio.Reader) (kind byte, channel uint64, payload []byte, err error) {
	head := make([]byte, 7)
	if _, err = io.ReadFull(br, head); err != nil {
		return
	}
	payload = make([]byte, binary.BigEndian.Uint32(head[3:])+1)
	_, err = io.ReadFull(br, payload)
	return head[0], uint64(binary.BigEndian.Uint16(head[1:])), payload[:len(payload)-1], err
}

// fields reads what a frame holds, one value after the other.
type fields []byte

func (f *fields) take(n int) []byte {
	b := (*f)[:n]
	*f = (*f)[n:]
	return b
}
func (f *fields) u8() byte      { return f.take(1)[0] }
func (f *fields) u16() uint16   { return binary.BigEndian.Uint16(f.take(2)) }
func (f *fields) u64() uint64   { return binary.BigEndian.Uint64(f.take(8)) }
func (f *fields) short() string { return string(f.take(int(f.u8()))) }
func (f *fields) long() []byte  { return f.take(int(binary.BigEndian.Uint32(f.take(4)))) }

// properties reads the content header and returns the size of the body.
func (m *fakeMessage) properties(payload []byte) uint64 {
	f := fields(payload)
	f.u16()
	f.u16()
	size, flags := f.u64(), f.u16()
	if flags&0x8000 != 0 {
		m.contentType = f.short()
	}
	m.headers = map[string]string{}
	if flags&0x2000 != 0 {
		for t := fields(f.long()); len(t) > 0; {
			name := t.short()
			if t.u8() != 'S' {
				panic("a header is not text: " + name)
			}
			m.headers[name] = string(t.long())
		}
	}
	if flags&0x1000 != 0 {
		m.deliveryMode = f.u8()
	}
	if flags&0x0080 != 0 {
		m.id = f.short()
	}
	if flags&0x0040 != 0 {
		m.timestamp = f.u64()
	}
	return size
}
