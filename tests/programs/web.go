// A web server and client of Go's own kind: no C library, a runtime with epoll, threads and signals of its own.
//
//	web server ADDRESS        answers with the client's address and its own
//	web client URL COUNT      COUNT requests, each on a connection of its own, ten at a time
//	web child URL             one request, by a child
//	web datagrams ADDRESS     answers each datagram with the address that it came from
//	web ask ADDRESS COUNT     COUNT datagrams on a connected socket, as many on one that is not, and their answers
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

func main() {
	var err error
	switch os.Args[1] {
	case "server":
		err = server(os.Args[2])
	case "client":
		err = client(os.Args[2], os.Args[3])
	case "datagrams":
		err = datagrams(os.Args[2])
	case "ask":
		err = ask(os.Args[2], os.Args[3])
	case "child":
		// fork and exec, the runtime's way.
		command := exec.Command(os.Args[0], "client", os.Args[2], "1")
		command.Stdout, command.Stderr = os.Stdout, os.Stderr
		err = command.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func server(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening on", listener.Addr())
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "%s to %v\n", peer, r.Context().Value(http.LocalAddrContextKey))
	}))
}

func datagrams(address string) error {
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening on", socket.LocalAddr())
	buffer := make([]byte, 65536)
	for {
		n, from, err := socket.ReadFrom(buffer)
		if err != nil {
			return err
		}
		answer := fmt.Sprintf("%s for %v", buffer[:n], from)
		if _, err := socket.WriteTo([]byte(answer), from); err != nil {
			return err
		}
	}
}

// One question at a time; the address is nil on a connected socket.
func ask(address, count string) error {
	total, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	server, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return err
	}
	connected, err := net.DialUDP("udp", nil, server)
	if err != nil {
		return err
	}
	free, err := net.ListenPacket("udp", ":0")
	if err != nil {
		return err
	}
	buffer := make([]byte, 65536)
	for i := 0; i < total; i++ {
		connected.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := fmt.Fprintf(connected, "%d", i); err != nil {
			return err
		}
		n, err := connected.Read(buffer)
		if err != nil {
			return err
		}
		if want := fmt.Sprintf("%d for %v", i, connected.LocalAddr()); string(buffer[:n]) != want {
			return fmt.Errorf("%q, not %q", buffer[:n], want)
		}
		free.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := free.WriteTo([]byte(strconv.Itoa(i)), server); err != nil {
			return err
		}
		n, from, err := free.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if from.String() != server.String() || !strings.HasPrefix(string(buffer[:n]), fmt.Sprintf("%d for ", i)) {
			return fmt.Errorf("%q from %v", buffer[:n], from)
		}
	}
	fmt.Println(total, "answers for", connected.LocalAddr().(*net.UDPAddr).IP, "from", connected.RemoteAddr())
	return nil
}

func client(url, count string) error {
	total, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	web := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answers := make(map[string]int)
	var lock sync.Mutex
	var first error
	var workers sync.WaitGroup
	work := make(chan int)
	for i := 0; i < 10; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for range work {
				text, err := get(&web, url)
				lock.Lock()
				if err != nil && first == nil {
					first = err
				}
				answers[text]++
				lock.Unlock()
			}
		}()
	}
	for i := 0; i < total; i++ {
		work <- i
	}
	close(work)
	workers.Wait()
	for text, times := range answers {
		fmt.Println(times, strings.TrimSpace(text))
	}
	return first
}

func get(web *http.Client, url string) (string, error) {
	response, err := web.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}
