// The cases in Go: no C library, a runtime with epoll, threads and signals of its own.
//
//	cases PEER-SOCKET PEER-ADDRESS OWN-ADDRESS [CASE…]
//
// A case makes calls whose results it says, without anything that differs between two runs by nature. Its other end is
// the peer (peer.c), which obeys its commands.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	limit  = 25 * time.Second
	atOnce = 6
)

var peerSocket, peerAddress, ownAddress string

// A test is one case: its trace, and its connection to the peer.
type test struct {
	title   string
	trace   bytes.Buffer
	lock    sync.Mutex
	control net.Conn
	answers *bufio.Reader
}

type named struct {
	title string
	play  func(*test)
}

var cases []named

func add(title string, play func(*test)) bool {
	cases = append(cases, named{title, play})
	return true
}

// say adds a line to the trace.
func (t *test) say(format string, arguments ...any) {
	t.lock.Lock()
	defer t.lock.Unlock()
	fmt.Fprintf(&t.trace, format+"\n", arguments...)
}

// reason is what an error comes down to: the errno's text, or Go's own kind of error.
func reason(err error) string {
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "deadline"
	case errors.Is(err, net.ErrClosed):
		return "closed"
	case errors.Is(err, io.EOF):
		return "end of file"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timed out"
	}
	return err.Error()
}

// peer has the peer obey a command.
func (t *test) peer(format string, arguments ...any) (int, string) {
	if t.control == nil {
		control, err := net.Dial("unix", peerSocket)
		if err != nil {
			panic(err)
		}
		t.control, t.answers = control, bufio.NewReader(control)
	}
	fmt.Fprintf(t.control, format+"\n", arguments...)
	var result, errno, length int
	if _, err := fmt.Fscanf(t.answers, "%d %d %d\n", &result, &errno, &length); err != nil {
		panic(fmt.Sprintf("the peer is gone: %v", err))
	}
	data := make([]byte, length)
	if _, err := io.ReadFull(t.answers, data); err != nil {
		panic(err)
	}
	if errno != 0 {
		return -errno, string(data)
	}
	return result, string(data)
}

// listens makes the peer listen by its socket 0: the address.
func (t *test) listens() string {
	t.peer("tcp 0")
	t.peer("bind 0 0")
	port, _ := t.peer("listen 0 16")
	return net.JoinHostPort(peerAddress, fmt.Sprint(port))
}

// dial makes a connection to the peer, whose end is its socket 1.
func (t *test) dial() *net.TCPConn {
	connection, err := net.Dial("tcp", t.listens())
	if err != nil {
		panic(err)
	}
	t.peer("accept 0 1")
	t.peer("close 0")
	return connection.(*net.TCPConn)
}

func (t *test) listener() *net.TCPListener {
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		panic(err)
	}
	return listener.(*net.TCPListener)
}

func port(address net.Addr) int {
	switch address := address.(type) {
	case *net.TCPAddr:
		return address.Port
	case *net.UDPAddr:
		return address.Port
	}
	return 0
}

// dialled makes the peer connect to a listener by its socket 1.
func (t *test) dialled(listener net.Listener) int {
	t.peer("tcp 1")
	result, _ := t.peer("connect 1 %d %s", port(listener.Addr()), ownAddress)
	return result
}

// taken is a connection that the peer has made.
func (t *test) taken() *net.TCPConn {
	listener := t.listener()
	defer listener.Close()
	t.dialled(listener)
	connection, err := listener.AcceptTCP()
	if err != nil {
		panic(err)
	}
	return connection
}

// read says what one read gives.
func (t *test) read(label string, from io.Reader, most int) {
	bytes := make([]byte, most)
	n, err := from.Read(bytes)
	t.say("%s: %d %q %s", label, n, bytes[:n], reason(err))
}

func (t *test) write(label string, to io.Writer, text string) {
	n, err := to.Write([]byte(text))
	t.say("%s: %d %s", label, n, reason(err))
}

// play runs a case to its end or its limit.
func play(one named) string {
	t := &test{title: one.title}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if trouble := recover(); trouble != nil {
				t.say("panic: %v", trouble)
			}
		}()
		one.play(t)
	}()
	select {
	case <-done:
	case <-time.After(limit):
		t.say("did not end")
	}
	t.lock.Lock()
	trace := "== go_" + t.title + "\n" + t.trace.String()
	t.lock.Unlock()
	if t.control != nil {
		t.control.Close()
	}
	return trace
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "helper" {
		helper(os.Args[2])
		return
	}
	peerSocket, peerAddress, ownAddress = os.Args[1], os.Args[2], os.Args[3]
	wanted := strings.Join(os.Args[4:], " ")
	traces := make([]string, len(cases))
	turns := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, one := range cases {
		if wanted != "" && !strings.Contains(" "+wanted+" ", " go_"+one.title+" ") {
			continue
		}
		all.Add(1)
		turns <- struct{}{}
		go func(i int, one named) {
			defer all.Done()
			traces[i] = play(one)
			<-turns
		}(i, one)
	}
	all.Wait()
	fmt.Print(strings.Join(traces, ""))
}
