// Command load-reviews posts one and the same body again and again to a server on this machine, over kept-alive TLS connections
// with one request in flight each, and tells how long the answers took and what they cost the server.
//
// It writes whole requests and reads no more of an answer than it must, so that beside a server on a core of its own it is
// never what is measured. Every answer has to be the first one, byte for byte.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type result struct {
	WallMicros int64 `json:"wallMicros"`
	// What the kernel charged to the server meanwhile.
	CPUMicros  int64 `json:"cpuMicros"`
	P50Micros  int64 `json:"p50Micros"`
	P99Micros  int64 `json:"p99Micros"`
	PeakRSSKiB int64 `json:"peakRssKib"`
	// The body of every answer.
	Answer string `json:"answer"`
}

type load struct {
	address   string
	request   []byte
	authority *x509.CertPool
	// Counts down; below zero there is nothing left to send.
	left    atomic.Int64
	mutex   sync.Mutex
	answer  []byte
	samples []time.Duration
}

func main() {
	address := flag.String("address", "", "host:port of the server")
	path := flag.String("path", "/", "where to post to")
	authority := flag.String("authority", "", "PEM file of who signed the server's certificate")
	body := flag.String("body", "", "file with the body")
	inFlight := flag.Int("in-flight", 16, "requests at a time")
	requests := flag.Int64("requests", 1000, "requests in all")
	process := flag.Int("process", 0, "the server's process")
	flag.Parse()
	measured, err := run(*address, *path, *authority, *body, *inFlight, *requests, *process)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(measured)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load-reviews:", err)
		os.Exit(1)
	}
}

func run(address, path, authority, file string, inFlight int, requests int64, process int) (*result, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load-reviews\r\nAccept: application/json, */*\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, address, len(body))
	work := &load{address: address, request: append([]byte(head), body...), authority: x509.NewCertPool()}
	if !work.authority.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate", authority)
	}
	connections := make([]*tls.Conn, inFlight)
	for index := range connections {
		if connections[index], err = tls.Dial("tcp", address, work.tls()); err != nil {
			return nil, err
		}
		defer connections[index].Close()
	}
	work.left.Store(requests)
	before, err := cpuMicros(process)
	if err != nil {
		return nil, err
	}
	started := time.Now()
	failures := make([]error, inFlight)
	var group sync.WaitGroup
	for index, connection := range connections {
		group.Go(func() {
			if failures[index] = work.send(connection); failures[index] != nil {
				work.left.Store(0)
			}
		})
	}
	group.Wait()
	wall := time.Since(started)
	if err := errors.Join(failures...); err != nil {
		return nil, err
	}
	after, err := cpuMicros(process)
	if err != nil {
		return nil, err
	}
	peak, err := peakRSSKiB(process)
	if err != nil {
		return nil, err
	}
	slices.Sort(work.samples)
	return &result{
		WallMicros: wall.Microseconds(),
		CPUMicros:  after - before,
		P50Micros:  work.samples[len(work.samples)/2].Microseconds(),
		P99Micros:  work.samples[len(work.samples)*99/100].Microseconds(),
		PeakRSSKiB: peak,
		Answer:     string(work.answer),
	}, nil
}

func (work *load) tls() *tls.Config {
	host, _, _ := net.SplitHostPort(work.address)
	return &tls.Config{RootCAs: work.authority, ServerName: host, NextProtos: []string{"http/1.1"}}
}

// send posts over one connection until nothing is left.
func (work *load) send(connection *tls.Conn) error {
	reader := bufio.NewReader(connection)
	var samples []time.Duration
	var answer, first []byte
	for work.left.Add(-1) >= 0 {
		sent := time.Now()
		if _, err := connection.Write(work.request); err != nil {
			return err
		}
		var err error
		if answer, err = read(reader, answer); err != nil {
			return err
		}
		samples = append(samples, time.Since(sent))
		if first == nil {
			first = bytes.Clone(answer)
		} else if !bytes.Equal(first, answer) {
			return fmt.Errorf("the answers differ: %s and %s", first, answer)
		}
	}
	if first == nil {
		return nil
	}
	work.mutex.Lock()
	defer work.mutex.Unlock()
	if work.answer == nil {
		work.answer = first
	} else if !bytes.Equal(work.answer, first) {
		return fmt.Errorf("the answers differ: %s and %s", work.answer, first)
	}
	work.samples = append(work.samples, samples...)
	return nil
}

// read takes an answer of status 200 and known length off the connection, and gives its body in the space of the last one.
func read(reader *bufio.Reader, body []byte) ([]byte, error) {
	length := -1
	for first := true; ; first = false {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			return nil, fmt.Errorf("answered %q", line)
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("content-length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return nil, err
			}
		}
	}
	if length < 0 {
		return nil, errors.New("an answer without Content-Length")
	}
	body = slices.Grow(body[:0], length)[:length]
	_, err := io.ReadFull(reader, body)
	return body, err
}

// cpuMicros is the user and system time of a process with all its threads; proc(5).
func cpuMicros(process int) (int64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	const microsPerTick = 10_000 // USER_HZ is 100 on every architecture that Go runs on.
	return (user + system) * microsPerTick, err
}

func peakRSSKiB(process int) (int64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(content)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strconv.ParseInt(strings.Fields(value)[0], 10, 64)
		}
	}
	return 0, errors.New("no VmHWM")
}
