// Command delay-proxy stands before a TCP server on loopback and makes it as far away as another site: what is sent takes
// half a round trip in each direction, whatever its amount, and a connection costs a round trip before its first byte, as
// TCP's handshake does.
//
// Usage: delay-proxy -round-trip 20ms TARGET. It listens on a free port of 127.0.0.1, prints it, and ends when its standard
// input does.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// What one direction may hold on its way: 20 ms at 10 GB/s are less.
const chunks = 4096

const chunkBytes = 64 * 1024

func main() {
	roundTrip := flag.Duration("round-trip", 20*time.Millisecond, "time from a request to its answer")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "delay-proxy:", err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		client, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "delay-proxy:", err)
			os.Exit(1)
		}
		go serve(client.(*net.TCPConn), flag.Arg(0), *roundTrip)
	}
}

func serve(client *net.TCPConn, target string, roundTrip time.Duration) {
	connected := time.Now().Add(roundTrip)
	connection, err := net.Dial("tcp", target)
	if err != nil {
		client.Close()
		return
	}
	server := connection.(*net.TCPConn)
	ended := make(chan struct{}, 2)
	go relay(server, client, roundTrip/2, connected, ended)
	go relay(client, server, roundTrip/2, connected, ended)
	<-ended
	<-ended
	client.Close()
	server.Close()
}

type chunk struct {
	content []byte
	due     time.Time
}

// relay hands bytes on when they are due. The end of the stream travels like bytes; a broken side breaks the other.
func relay(to, from *net.TCPConn, delay time.Duration, notBefore time.Time, ended chan<- struct{}) {
	queue := make(chan chunk, chunks)
	go func() {
		defer close(queue)
		buffer := make([]byte, chunkBytes)
		for {
			count, err := from.Read(buffer)
			if count > 0 {
				sent := time.Now()
				if sent.Before(notBefore) {
					sent = notBefore
				}
				queue <- chunk{bytes.Clone(buffer[:count]), sent.Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for piece := range queue {
		time.Sleep(time.Until(piece.due))
		if _, err := to.Write(piece.content); err != nil {
			from.Close()
			for range queue {
			}
			break
		}
	}
	_ = to.CloseWrite()
	ended <- struct{}{}
}
