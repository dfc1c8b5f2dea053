package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

var _ = add("echo", func(t *test) {
	connection := t.dial()
	t.write("write", connection, "hello")
	_, heard := t.peer("recv 1 5 256")
	t.say("%s", heard)
	t.peer("send 1 0 answer")
	text := make([]byte, 6)
	n, err := io.ReadFull(connection, text)
	t.say("%d %s %s", n, text, reason(err))
})

var _ = add("end_of_file", func(t *test) {
	connection := t.dial()
	t.peer("send 1 0 last")
	t.peer("close 1")
	all, err := io.ReadAll(connection)
	t.say("%s %s", all, reason(err))
	t.read("again", connection, 10)
})

var _ = add("half_close", func(t *test) {
	connection := t.dial()
	t.write("request", connection, "request")
	t.say("close for writing: %s", reason(connection.CloseWrite()))
	n, _ := t.peer("drain 1 100")
	t.say("heard: %d", n)
	t.write("more", connection, "x")
	t.peer("send 1 0 reply")
	t.peer("close 1")
	all, err := io.ReadAll(connection)
	t.say("%s %s", all, reason(err))
})

var _ = add("close_for_reading", func(t *test) {
	connection := t.dial()
	t.say("%s", reason(connection.CloseRead()))
	t.read("read", connection, 10)
	t.write("write", connection, "x")
	n, _ := t.peer("recv 1 1")
	t.say("heard: %d", n)
})

var _ = add("reset_is_seen_by_read", func(t *test) {
	connection := t.dial()
	t.peer("reset 1")
	_, err := connection.Read(make([]byte, 1))
	t.say("%s, %v", reason(err), errors.Is(err, syscall.ECONNRESET))
	_, err = connection.Read(make([]byte, 1))
	t.say("%s", reason(err))
})

var _ = add("reset_is_seen_by_write", func(t *test) {
	connection := t.dial()
	t.peer("reset 1")
	var err error
	for i := 0; i < 1000; i++ {
		if _, err = connection.Write([]byte("x")); err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	t.say("an error: %v", errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET))
})

var _ = add("reset_by_linger", func(t *test) {
	connection := t.dial()
	t.say("%s", reason(connection.SetLinger(0)))
	connection.Close()
	n, _ := t.peer("recv 1 1")
	t.say("%s", syscall.Errno(-n))
})

var _ = add("unread_data_resets", func(t *test) {
	connection := t.dial()
	t.peer("send 1 0 unread")
	raw, _ := connection.SyscallConn()
	raw.Read(func(fd uintptr) bool {
		n, _, _ := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return n > 0
	})
	connection.Close()
	n, _ := t.peer("recv 1 1")
	t.say("%s", syscall.Errno(-n))
})

var _ = add("read_deadline", func(t *test) {
	connection := t.dial()
	connection.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	t.read("read", connection, 1)
	t.read("again", connection, 1)
	connection.SetReadDeadline(time.Time{})
	t.peer("send 1 0 x")
	t.read("later", connection, 1)
	connection.SetDeadline(time.Now().Add(-time.Second))
	t.read("in the past", connection, 1)
	t.write("in the past", connection, "x")
})

var _ = add("deadline_wakes_a_reader", func(t *test) {
	connection := t.dial()
	time.AfterFunc(50*time.Millisecond, func() { connection.SetReadDeadline(time.Now()) })
	t.read("read", connection, 1)
})

var _ = add("close_wakes_a_reader", func(t *test) {
	connection := t.dial()
	time.AfterFunc(50*time.Millisecond, func() { connection.Close() })
	t.read("read", connection, 1)
})

var _ = add("write_deadline", func(t *test) {
	connection := t.dial()
	connection.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	block := make([]byte, 1<<20)
	var err error
	for err == nil {
		_, err = connection.Write(block)
	}
	t.say("%s", reason(err))
})

var _ = add("use_after_close", func(t *test) {
	connection := t.dial()
	connection.Close()
	t.read("read", connection, 1)
	t.write("write", connection, "x")
	t.say("%s", reason(connection.SetNoDelay(true)))
})

var _ = add("vectors", func(t *test) {
	connection := t.dial()
	buffers := net.Buffers{[]byte("one "), []byte("two "), []byte("three")}
	n, err := buffers.WriteTo(connection)
	t.say("%d %s", n, reason(err))
	_, heard := t.peer("recv 1 13 256")
	t.say("%s", heard)
})

var _ = add("send_a_file", func(t *test) {
	connection := t.dial()
	file, err := os.CreateTemp("", "case")
	if err != nil {
		t.say("%v", err)
		return
	}
	defer os.Remove(file.Name())
	file.Write(bytes.Repeat([]byte("0123456789"), 10000))
	file.Seek(0, io.SeekStart)
	done := make(chan struct{})
	go func() {
		n, err := io.Copy(connection, file)
		t.say("sent: %d %s", n, reason(err))
		connection.Close()
		close(done)
	}()
	n, _ := t.peer("drain 1 200000")
	<-done
	t.say("heard: %d", n)
})

var _ = add("splice_between_connections", func(t *test) {
	from := t.dial()
	other := &test{}
	to := other.dial()
	go func() {
		io.Copy(to, from)
		to.CloseWrite()
	}()
	t.peer("fill 1 500000")
	t.peer("close 1")
	n, _ := other.peer("drain 1 600000")
	t.say("through: %d", n)
	other.control.Close()
})

var _ = add("large_both_ways", func(t *test) {
	connection := t.dial()
	var all sync.WaitGroup
	all.Add(1)
	go func() {
		defer all.Done()
		n, err := connection.Write(make([]byte, 1500000))
		t.say("written: %d %s", n, reason(err))
	}()
	n, _ := t.peer("drain 1 1500000")
	all.Wait()
	t.say("heard: %d", n)
	sum := sha256.New()
	all.Add(1)
	go func() {
		defer all.Done()
		n, err := io.Copy(sum, connection)
		t.say("read: %d %s %x", n, reason(err), sum.Sum(nil)[:4])
	}()
	t.peer("fill 1 1200000")
	t.peer("close 1")
	all.Wait()
})

var _ = add("many_writers", func(t *test) {
	connection := t.dial()
	var all sync.WaitGroup
	for i := 0; i < 8; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := 0; i < 50; i++ {
				connection.Write([]byte("0123456789"))
			}
		}()
	}
	n, _ := t.peer("drain 1 4000")
	all.Wait()
	t.say("heard: %d", n)
})

func child(t *test, what string, file *os.File) {
	command := exec.Command("/proc/self/exe", "helper", what)
	command.ExtraFiles = []*os.File{file}
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	err := command.Run()
	t.say("child: %v %s", err, output.String())
}

var _ = add("child_with_a_connection", func(t *test) {
	connection := t.dial()
	file, _ := connection.File()
	connection.Close()
	t.peer("send 1 0 ping")
	child(t, "echo", file)
	file.Close()
	_, heard := t.peer("recv 1 4 256")
	t.say("%s", heard)
	n, _ := t.peer("recv 1 1")
	t.say("end: %d", n)
})

var _ = add("child_with_a_listener", func(t *test) {
	listener := t.listener()
	t.say("connected: %d", t.dialled(listener))
	file, _ := listener.File()
	listener.Close()
	child(t, "accept", file)
	file.Close()
	_, heard := t.peer("recv 1 5 256")
	t.say("%s", heard)
})

var _ = add("udp_echo", func(t *test) {
	t.peer("udp 2")
	number, _ := t.peer("bind 2 0")
	connection, err := net.Dial("udp", net.JoinHostPort(peerAddress, fmt.Sprint(number)))
	t.say("dial: %s", reason(err))
	t.write("write", connection, "datagram")
	_, heard := t.peer("recv 2 100")
	t.say("%s", heard)
	t.peer("sendto 2 %d %s answer", port(connection.LocalAddr()), ownAddress)
	connection.SetReadDeadline(time.Now().Add(10 * time.Second))
	t.read("read", connection, 100)
})

var _ = add("udp_packets", func(t *test) {
	packets, err := net.ListenPacket("udp", ":0")
	t.say("listen: %s", reason(err))
	t.peer("udp 2")
	number, _ := t.peer("bind 2 0")
	t.peer("sendto 2 %d %s first", port(packets.LocalAddr()), ownAddress)
	packets.SetReadDeadline(time.Now().Add(10 * time.Second))
	text := make([]byte, 100)
	n, from, err := packets.ReadFrom(text)
	t.say("%s %s", text[:n], reason(err))
	t.say("from the peer: %v", from != nil && port(from) == number)
	n, err = packets.WriteTo([]byte("answer"), from)
	t.say("%d %s", n, reason(err))
	_, heard := t.peer("recv 2 100")
	t.say("%s", heard)
	packets.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, _, err = packets.ReadFrom(text)
	t.say("%s", reason(err))
})
