package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

var _ = add("accept", func(t *test) {
	listener := t.listener()
	t.say("listening on all: %v", listener.Addr().(*net.TCPAddr).IP.IsUnspecified())
	t.say("connected: %d", t.dialled(listener))
	connection, err := listener.AcceptTCP()
	t.say("accept: %s", reason(err))
	t.say("from there: %v, to here: %v", connection.RemoteAddr().(*net.TCPAddr).IP.Equal(net.ParseIP(peerAddress)),
		connection.LocalAddr().(*net.TCPAddr).IP.Equal(net.ParseIP(ownAddress)))
	t.peer("send 1 0 hello")
	t.read("read", connection, 5)
})

var _ = add("accept_deadline", func(t *test) {
	listener := t.listener()
	listener.SetDeadline(time.Now().Add(50 * time.Millisecond))
	_, err := listener.Accept()
	t.say("%s", reason(err))
	listener.SetDeadline(time.Time{})
	t.dialled(listener)
	_, err = listener.Accept()
	t.say("%s", reason(err))
})

var _ = add("close_wakes_accept", func(t *test) {
	listener := t.listener()
	time.AfterFunc(50*time.Millisecond, func() { listener.Close() })
	_, err := listener.Accept()
	t.say("%s", reason(err))
	// On a network the news of the close may be a moment behind it.
	n := 0
	for i := 0; i < 500 && n != -int(syscall.ECONNREFUSED); i++ {
		t.peer("tcp 3")
		n, _ = t.peer("connect 3 %d %s", port(listener.Addr()), ownAddress)
		t.peer("close 3")
		time.Sleep(5 * time.Millisecond)
	}
	t.say("refused: %s", syscall.Errno(-n))
})

var _ = add("accept_in_goroutines", func(t *test) {
	listener := t.listener()
	var all sync.WaitGroup
	for i := 0; i < 10; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			connection, err := listener.Accept()
			if err == nil {
				io.Copy(connection, io.LimitReader(connection, 1))
				connection.Close()
			}
		}()
	}
	good := 0
	for i := 0; i < 10; i++ {
		t.dialled(listener)
		t.peer("send 1 0 x")
		if n, _ := t.peer("recv 1 1"); n == 1 {
			good++
		}
		t.peer("close 1")
	}
	all.Wait()
	t.say("good: %d", good)
})

var _ = add("listen_on_a_taken_port", func(t *test) {
	listener := t.listener()
	_, err := net.Listen("tcp", fmt.Sprintf(":%d", port(listener.Addr())))
	t.say("%s %v", reason(err), errors.Is(err, syscall.EADDRINUSE))
	listener.Close()
	again, err := net.Listen("tcp", fmt.Sprintf(":%d", port(listener.Addr())))
	t.say("%s", reason(err))
	t.say("connected: %d", t.dialled(again))
})

var _ = add("listen_on_the_own_address", func(t *test) {
	listener, err := net.Listen("tcp", net.JoinHostPort(ownAddress, "0"))
	t.say("%s", reason(err))
	t.say("here: %v", listener.Addr().(*net.TCPAddr).IP.Equal(net.ParseIP(ownAddress)))
	t.say("connected: %d", t.dialled(listener))
	_, err = listener.Accept()
	t.say("%s", reason(err))
})

var _ = add("listen_on_a_foreign_address", func(t *test) {
	_, err := net.Listen("tcp", "192.0.2.1:0")
	t.say("%s", reason(err))
})

var _ = add("listen_with_options", func(t *test) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_OOBINLINE, 1)
		})
	}}
	listener, err := config.Listen(context.Background(), "tcp", ":0")
	t.say("%s", reason(err))
	t.say("kept: %d", option(listener.(*net.TCPListener), syscall.SOL_SOCKET, syscall.SO_OOBINLINE))
	t.say("accepting: %d", option(listener.(*net.TCPListener), syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN))
	t.dialled(listener)
	connection, err := listener.Accept()
	t.say("%s", reason(err))
	t.say("inherited: %d", option(connection.(*net.TCPConn), syscall.SOL_SOCKET, syscall.SO_OOBINLINE))
})

var _ = add("listener_serves_loopback_too", func(t *test) {
	listener := t.listener()
	connection, err := net.Dial("tcp", fmt.Sprintf("localhost:%d", port(listener.Addr())))
	t.say("dial: %s", reason(err))
	accepted, err := listener.Accept()
	t.say("accept: %s", reason(err))
	t.write("write", connection, "x")
	t.read("read", accepted, 1)
})

var _ = add("http_within_the_container", func(t *test) {
	listener, err := net.Listen("tcp", net.JoinHostPort(ownAddress, "0"))
	t.say("%s", reason(err))
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d", r.Method, r.URL.Path, len(body))
	})}
	go server.Serve(listener)
	client := http.Client{Timeout: 10 * time.Second}
	for i := 0; i < 5; i++ {
		answer, err := client.Get(fmt.Sprintf("http://%s/page%d", listener.Addr(), i))
		if err != nil {
			t.say("%s", reason(err))
			continue
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		t.say("%d %s %s", answer.StatusCode, body, reason(err))
	}
	server.Close()
	_, err = client.Get(fmt.Sprintf("http://%s/", listener.Addr()))
	t.say("after it was closed: %v", err != nil)
})

var _ = add("many_connections_at_once", func(t *test) {
	listener := t.listener()
	for i := 0; i < 20; i++ {
		t.peer("tcp %d", i+10)
		t.peer("connect %d %d %s", i+10, port(listener.Addr()), ownAddress)
	}
	var all []net.Conn
	for i := 0; i < 20; i++ {
		connection, err := listener.Accept()
		if err == nil {
			all = append(all, connection)
		}
	}
	for _, connection := range all {
		connection.Write([]byte("x"))
	}
	heard := 0
	for i := 0; i < 20; i++ {
		if n, _ := t.peer("recv %d 1", i+10); n == 1 {
			heard++
		}
	}
	t.say("accepted %d, heard %d", len(all), heard)
})
