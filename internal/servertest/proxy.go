package servertest

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// A Mode is how a [Proxy] treats connections.
type Mode int

const (
	// Pass forwards everything.
	Pass Mode = iota
	// Cut forwards requests, and closes the connection in place of an answer.
	Cut
	// Swallow forwards requests, and drops the answers; the connection stays
	// open. One that has lost an answer is never used for another, because the
	// client would take that for the lost one.
	Swallow
	// Refuse closes every connection, also new ones.
	Refuse
	// Cross gives the answer to the client of another connection, and this
	// client gets the answer that was meant for that one. Without a second answer
	// within a moment it forwards the first as it is.
	Cross
	// Reorder forwards the connection's next answer first, if that is to be
	// reordered, too. Without one within a moment it forwards the first as it is.
	Reorder
)

// moment is how long Cross and Reorder wait for a second answer.
const moment = 30 * time.Millisecond

// A Proxy stands between a client and a server, and spoils their connections.
type Proxy struct {
	listener net.Listener
	closed   chan struct{}
	running  sync.WaitGroup
	crossing chan held // where an answer meets another one

	mu      sync.Mutex // guards what follows
	target  string
	mode    Mode
	judge   func(answer bool, piece []byte) Mode // in place of mode, if not nil
	delay   time.Duration
	crossed int
	conns   map[net.Conn]bool // open: whether they are dead
}

// A held answer waits for another one.
type held struct {
	answer []byte
	other  chan []byte
}

// NewProxy starts a proxy in front of the server at target. It passes
// everything, until it is told otherwise, and is closed when the test ends.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, closed: make(chan struct{}), crossing: make(chan held),
		conns: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	tb.Cleanup(func() {
		close(p.closed)
		_ = l.Close()
		p.CloseConnections()
		p.running.Wait()
	})
	return p
}

// Addr returns the address for the client, such as 127.0.0.1:41234.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set says what happens to the answers and connections from now on.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	p.mode, p.judge = m, nil
	p.mu.Unlock()
	if m == Refuse {
		p.CloseConnections()
	}
}

// SetFunc lets judge say what happens to each answer, and to each request, from
// now on. Cut and Swallow lose a request as they lose an answer. An answer is
// what arrives at once: a whole one, unless it is long or the client has asked
// for several together. Calls of judge may overlap.
func (p *Proxy) SetFunc(judge func(answer bool, piece []byte) Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode, p.judge = Pass, judge
}

// Delay holds every answer back for d from now on.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Lead makes new connections go to the server at target. Open ones stay.
func (p *Proxy) Lead(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Crossed returns how many answers went to the wrong client.
func (p *Proxy) Crossed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crossed
}

// CloseConnections closes the connections that are open now.
func (p *Proxy) CloseConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// Deaden makes the connections that are open now carry nothing any more. They
// stay open, as behind a firewall that has forgotten them.
func (p *Proxy) Deaden() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.conns[c] = true
	}
}

func (p *Proxy) isDead(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns[c]
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer p.forget(client)
	if !p.keep(client) {
		return
	}
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer p.forget(server)
	if !p.keep(server) {
		return
	}
	p.running.Go(func() {
		p.forward(server, client, false)
		_, _ = client.Close(), server.Close()
	})
	p.forward(client, server, true)
}

// keep notes an open connection, and returns false if there should be none.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
		return false
	default:
	}
	p.conns[c] = false
	return p.mode != Refuse
}

func (p *Proxy) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}

func (p *Proxy) forward(to, from net.Conn, answers bool) {
	buf := make([]byte, 64<<10)
	isLost := false
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		out := buf[:n]
		mode, ok := p.decide(answers, out)
		if !ok || mode == Cut || mode == Refuse {
			return
		}
		isLost = isLost || mode == Swallow || p.isDead(from)
		switch {
		case isLost:
			continue
		case mode == Cross && answers:
			out = p.cross(out)
		case mode == Reorder && answers:
			out = p.withNext(from, out)
		}
		if _, err := to.Write(out); err != nil {
			return
		}
	}
}

// decide returns how to treat what has arrived, and false if the proxy was
// closed while it held that back.
func (p *Proxy) decide(answer bool, piece []byte) (Mode, bool) {
	p.mu.Lock()
	mode, judge, delay := p.mode, p.judge, p.delay
	p.mu.Unlock()
	switch {
	case judge != nil:
		mode = judge(answer, piece)
	case !answer && mode != Refuse:
		mode = Pass
	}
	return mode, !answer || p.wait(delay)
}

// cross exchanges an answer for another connection's.
func (p *Proxy) cross(answer []byte) []byte {
	mine := held{bytes.Clone(answer), make(chan []byte, 1)}
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case p.crossing <- mine:
		return <-mine.other
	case theirs := <-p.crossing:
		theirs.other <- mine.answer
		p.mu.Lock()
		p.crossed += 2
		p.mu.Unlock()
		return theirs.answer
	case <-timer.C:
		return answer
	}
}

// withNext returns the next answer of a connection followed by this one.
func (p *Proxy) withNext(from net.Conn, answer []byte) []byte {
	buf := make([]byte, 64<<10)
	if err := from.SetReadDeadline(time.Now().Add(moment)); err != nil {
		return answer
	}
	n, _ := from.Read(buf) // an error comes again with the next read
	_ = from.SetReadDeadline(time.Time{})
	next := buf[:n]
	if n == 0 {
		return answer
	}
	if mode, _ := p.decide(true, next); mode == Reorder {
		p.mu.Lock()
		p.crossed += 2
		p.mu.Unlock()
		return append(next, answer...)
	}
	return append(bytes.Clone(answer), next...)
}

// wait returns false if the proxy was closed meanwhile.
func (p *Proxy) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-p.closed:
		return false
	case <-time.After(d):
		return true
	}
}
