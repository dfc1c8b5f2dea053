package main

import (
	"context"
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

var _ = add("dial", func(t *test) {
	address := t.listens()
	connection, err := net.Dial("tcp", address)
	t.say("dial: %s", reason(err))
	t.say("there: %v", connection.RemoteAddr().String() == address)
	local := connection.LocalAddr().(*net.TCPAddr)
	t.say("here: %v %v", local.IP.String() == net.ParseIP(ownAddress).String(), local.Port > 0)
	accepted, _ := t.peer("accept 0 1")
	_, seen := t.peer("peer 1")
	t.say("accepted %v, as seen there: %v", accepted >= 0, seen == fmt.Sprintf("%s %d", ownAddress, local.Port))
	t.say("close: %s", reason(connection.Close()))
	t.say("close: %s", reason(connection.Close()))
})

var _ = add("dial_refused", func(t *test) {
	t.peer("tcp 9")
	port, _ := t.peer("bind 9 0")
	t.peer("close 9")
	_, err := net.Dial("tcp", net.JoinHostPort(peerAddress, fmt.Sprint(port)))
	t.say("dial: %s, refused: %v", reason(err), errors.Is(err, syscall.ECONNREFUSED))
})

var _ = add("dial_the_wrong_family", func(t *test) {
	network := "tcp6"
	if strings.Contains(peerAddress, ":") {
		network = "tcp4"
	}
	_, err := net.Dial(network, t.listens())
	t.say("no address: %v", err != nil)
})

var _ = add("dial_with_a_local_address", func(t *test) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ownAddress)}}
	connection, err := dialer.Dial("tcp", t.listens())
	t.say("dial: %s", reason(err))
	if err == nil {
		t.say("here: %v", connection.LocalAddr().(*net.TCPAddr).IP.Equal(net.ParseIP(ownAddress)))
	}
})

var _ = add("dial_with_options_before", func(t *test) {
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 77)
		})
	}, KeepAlive: -1}
	connection, err := dialer.Dial("tcp", t.listens())
	t.say("dial: %s", reason(err))
	t.say("kept: %d", option(connection.(*net.TCPConn), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE))
})

var _ = add("dial_with_a_context", func(t *test) {
	context, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var dialer net.Dialer
	connection, err := dialer.DialContext(context, "tcp", t.listens())
	t.say("dial: %s", reason(err))
	t.peer("accept 0 1")
	t.write("write", connection, "hello")
	_, heard := t.peer("recv 1 5 256")
	t.say("%s", heard)
})

var _ = add("dial_cancelled_before", func(t *test) {
	context, cancel := context.WithCancel(context.Background())
	cancel()
	var dialer net.Dialer
	_, err := dialer.DialContext(context, "tcp", t.listens())
	t.say("%v", err != nil)
})

var _ = add("dial_in_many_goroutines", func(t *test) {
	address := t.listens()
	var all sync.WaitGroup
	var lock sync.Mutex
	connected := 0
	for i := 0; i < 16; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			connection, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			connection.Write([]byte("x"))
			lock.Lock()
			connected++
			lock.Unlock()
			connection.Close()
		}()
	}
	all.Wait()
	heard := 0
	for i := 0; i < 16; i++ {
		t.peer("accept 0 1")
		if n, _ := t.peer("drain 1 10"); n == 1 {
			heard++
		}
		t.peer("close 1")
	}
	t.say("connected %d, heard %d", connected, heard)
})

var _ = add("raw_connect", func(t *test) {
	var number int
	fmt.Sscan(strings.TrimPrefix(t.listens(), net.JoinHostPort(peerAddress, "")), &number)
	var to syscall.Sockaddr
	family := syscall.AF_INET
	if ip := net.ParseIP(peerAddress); ip.To4() == nil {
		family = syscall.AF_INET6
		six := &syscall.SockaddrInet6{Port: number}
		copy(six.Addr[:], ip.To16())
		to = six
	} else {
		four := &syscall.SockaddrInet4{Port: number}
		copy(four.Addr[:], ip.To4())
		to = four
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	t.say("socket: %s", reason(err))
	t.say("connect: %s", reason(syscall.Connect(fd, to)))
	t.say("connect: %s", reason(syscall.Connect(fd, to)))
	name, err := syscall.Getpeername(fd)
	t.say("peer: %v %s", fmt.Sprintf("%T", name) == fmt.Sprintf("%T", to), reason(err))
	t.peer("accept 0 1")
	n, err := syscall.Write(fd, []byte("raw"))
	t.say("write: %d %s", n, reason(err))
	_, heard := t.peer("recv 1 3 256")
	t.say("%s", heard)
	t.say("shutdown: %s", reason(syscall.Shutdown(fd, syscall.SHUT_WR)))
	n, _ = t.peer("recv 1 3")
	t.say("end: %d", n)
	t.say("close: %s", reason(syscall.Close(fd)))
})

// option reads an int option by the raw descriptor.
func option(connection syscall.Conn, level, name int) int {
	value := -1
	if raw, err := connection.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { value, _ = syscall.GetsockoptInt(int(fd), level, name) })
	}
	return value
}

var _ = add("options", func(t *test) {
	connection := t.dial()
	t.say("no delay by default: %d", option(connection, syscall.IPPROTO_TCP, syscall.TCP_NODELAY))
	t.say("%s", reason(connection.SetNoDelay(false)))
	t.say("no delay: %d", option(connection, syscall.IPPROTO_TCP, syscall.TCP_NODELAY))
	t.say("%s", reason(connection.SetKeepAlive(true)))
	t.say("%s", reason(connection.SetKeepAlivePeriod(33*time.Second)))
	t.say("keep alive: %d %d %d", option(connection, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE),
		option(connection, syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE),
		option(connection, syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL))
	t.say("%s %s", reason(connection.SetReadBuffer(50000)), reason(connection.SetWriteBuffer(60000)))
	t.say("buffers: %d %d", option(connection, syscall.SOL_SOCKET, syscall.SO_RCVBUF),
		option(connection, syscall.SOL_SOCKET, syscall.SO_SNDBUF))
	t.say("type %d, error %d", option(connection, syscall.SOL_SOCKET, syscall.SO_TYPE),
		option(connection, syscall.SOL_SOCKET, syscall.SO_ERROR))
})

var _ = add("file_of_a_connection", func(t *test) {
	connection := t.dial()
	file, err := connection.File()
	t.say("file: %s", reason(err))
	connection.Close()
	t.write("write to the file", file, "by file")
	_, heard := t.peer("recv 1 7 256")
	t.say("%s", heard)
	again, err := net.FileConn(file)
	t.say("connection: %s", reason(err))
	file.Close()
	t.peer("send 1 0 answer")
	t.read("read", again, 6)
	t.say("there: %v", again.RemoteAddr().(*net.TCPAddr).IP.Equal(net.ParseIP(peerAddress)))
	again.Close()
	n, _ := t.peer("recv 1 1")
	t.say("end: %d", n)
})

// helper is what a child does: it answers on the connection that is its descriptor 3.
func helper(what string) {
	file := os.NewFile(3, "inherited")
	switch what {
	case "echo":
		connection, err := net.FileConn(file)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		text := make([]byte, 4)
		io.ReadFull(connection, text)
		connection.Write(text)
	case "accept":
		listener, err := net.FileListener(file)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		connection, err := listener.Accept()
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		connection.Write([]byte("child"))
		connection.Close()
	}
}
