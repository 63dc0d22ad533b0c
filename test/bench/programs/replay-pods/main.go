// Command replay-pods is an API server that has nothing but pods, and them ready: bytes that a real one encoded, made to as many
// pods as are asked for. Clients list them, by pages or by WatchList, and watch changes.
//
// Bytes are made before it listens, so that beside a client it is never what is measured. What a real server writes of an event
// in one call is one HTTP chunk or two; over HTTP/1.1 the chunks are the same here, over HTTP/2 the frames are as large as they
// may be. Prints `listening PORT`; a number on standard input lets so many seconds of changes go to all watches.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// Versions of the pods begin here, so that all have as many digits.
const firstVersion = 1_000_000

// A change every so often makes the rate that is asked for even: a real cluster's changes do not come by the hundred.
const tick = 10 * time.Millisecond

func main() {
	file := flag.String("pods", "", "file with a list of pods in protobuf, as an API server answered")
	count := flag.Int("count", 100_000, "pods")
	perSecond := flag.Int("changes", 500, "changes a second")
	folder := flag.String("certificates", "", "folder with tls.crt and tls.key")
	flag.Parse()
	if err := run(*file, *count, *perSecond, *folder); err != nil {
		fmt.Fprintln(os.Stderr, "replay-pods:", err)
		os.Exit(1)
	}
}

func run(file string, count, perSecond int, folder string) error {
	body, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	templates := templatesOf(body)
	if len(templates) == 0 {
		return fmt.Errorf("%s: no pods", file)
	}
	certificate, err := tls.LoadX509KeyPair(folder+"/tls.crt", folder+"/tls.key")
	if err != nil {
		return err
	}
	all := newPods(templates, count)
	server := &http.Server{Handler: all, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening", listener.Addr().(*net.TCPAddr).Port)
	go changes(all, perSecond)
	return server.ServeTLS(listener, "", "")
}

// Lets changes go when standard input asks for them; ends with it.
func changes(all *pods, perSecond int) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		seconds, err := strconv.Atoi(lines.Text())
		if err != nil {
			continue
		}
		started := time.Now()
		for sent := 0; sent < seconds*perSecond; {
			due := min(int(time.Since(started).Seconds()*float64(perSecond)), seconds*perSecond)
			all.change(due - sent)
			sent = due
			time.Sleep(tick)
		}
		fmt.Println("changed", seconds*perSecond)
	}
	os.Exit(0)
}

type pods struct {
	templates []template
	mutex     sync.Mutex
	// What each watch gets, as events in protobuf behind their lengths.
	frames   [][]byte
	initial  []byte
	chunked  []byte
	version  int
	turn     int
	watchers map[chan []byte]bool
}

func newPods(templates []template, count int) *pods {
	all := &pods{templates: templates, version: firstVersion, watchers: map[chan []byte]bool{}}
	for at := range count {
		all.version++
		all.frames = append(all.frames, event("ADDED", object("Pod", all.pod(at, all.version))))
	}
	all.initial = bytes.Join(append(all.frames, bookmark(all.version, true)), nil)
	for _, frame := range append(all.frames, bookmark(all.version, true)) {
		all.chunked = appendChunks(all.chunked, frame)
	}
	return all
}

// The pod of that number: a template's, under a name, uid and version of its own.
func (all *pods) pod(number, version int) []byte {
	one := all.templates[number%len(all.templates)]
	name := fmt.Sprintf("%s%06d", one.name[:len(one.name)-5], number)
	uid := fmt.Sprintf("%08x-0000-4000-8000-%012x", number, number)
	owner := one.name[:len(one.name)-6]
	return one.with(map[int]string{1: name, 5: uid, 6: strconv.Itoa(version)}, owner)
}

// Lets so many pods change: each is written again, every tenth is deleted and another made.
func (all *pods) change(count int) {
	if count == 0 {
		return
	}
	all.mutex.Lock()
	defer all.mutex.Unlock()
	var frames []byte
	for range count {
		number := (all.turn * 7919) % len(all.frames)
		all.turn++
		all.version++
		kind := "MODIFIED"
		if all.turn%10 == 0 {
			frames = append(frames, event("DELETED", object("Pod", all.pod(number, all.version)))...)
			all.version++
			kind = "ADDED"
		}
		frames = append(frames, event(kind, object("Pod", all.pod(number, all.version)))...)
	}
	for watcher := range all.watchers {
		select {
		case watcher <- frames:
		default: // a client that is seconds behind has lost
			close(watcher)
			delete(all.watchers, watcher)
		}
	}
}

func (all *pods) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	query := request.URL.Query()
	if request.URL.Path != "/api/v1/pods" {
		http.NotFound(answer, request)
		return
	}
	if watching := query.Get("watch"); watching == "true" || watching == "1" {
		all.watch(answer, request, query.Get("sendInitialEvents") == "true")
		return
	}
	all.page(answer, query.Get("limit"), query.Get("continue"))
}

func (all *pods) page(answer http.ResponseWriter, limit, token string) {
	from := 0
	if text, err := base64.StdEncoding.DecodeString(token); err == nil && token != "" {
		from, _ = strconv.Atoi(string(text))
	}
	to := len(all.frames)
	if asked, _ := strconv.Atoi(limit); asked > 0 {
		to = min(to, from+asked)
	}
	meta := field(2, []byte(strconv.Itoa(firstVersion+len(all.frames))))
	if to < len(all.frames) {
		meta = append(meta, field(3, []byte(base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(to)))))...)
	}
	list := field(1, meta)
	for number := from; number < to; number++ {
		list = append(list, field(2, all.pod(number, firstVersion+1+number))...)
	}
	answer.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
	_, _ = answer.Write(object("PodList", list))
}

func (all *pods) watch(answer http.ResponseWriter, request *http.Request, initial bool) {
	watcher := make(chan []byte, 1000)
	all.mutex.Lock()
	all.watchers[watcher] = true
	all.mutex.Unlock()
	defer func() {
		all.mutex.Lock()
		delete(all.watchers, watcher)
		all.mutex.Unlock()
	}()
	if request.ProtoMajor == 1 {
		all.watchChunked(answer, watcher, initial)
		return
	}
	answer.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf;stream=watch")
	flusher := answer.(http.Flusher)
	flusher.Flush()
	if initial {
		_, _ = answer.Write(all.initial)
		flusher.Flush()
	}
	for {
		select {
		case <-request.Context().Done():
			return
		case frames, ok := <-watcher:
			if !ok {
				return
			}
			if _, err := answer.Write(frames); err != nil {
				return
			}
			flusher.Flush()
		}
	}
}

// HTTP/1.1 by hand, its chunks made before.
func (all *pods) watchChunked(answer http.ResponseWriter, watcher chan []byte, initial bool) {
	connection, _, err := answer.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer connection.Close()
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.kubernetes.protobuf;stream=watch\r\nTransfer-Encoding: chunked\r\n\r\n"
	if _, err := connection.Write([]byte(head)); err != nil {
		return
	}
	if initial {
		if _, err := connection.Write(all.chunked); err != nil {
			return
		}
	}
	for frames := range watcher {
		var chunks []byte
		for len(frames) > 0 {
			length := 4 + int(binary.BigEndian.Uint32(frames))
			chunks = appendChunks(chunks, frames[:length])
			frames = frames[length:]
		}
		if _, err := connection.Write(chunks); err != nil {
			return
		}
	}
}

// As net/http cuts what a watch writes, a length and then an event: what fills its buffer of 2,048 bytes, and the rest.
func appendChunks(to, frame []byte) []byte {
	for len(frame) > 0 {
		length := min(len(frame), 2048)
		if len(frame) > 2048 && len(frame)-2048 >= 2048 {
			to = appendChunk(to, frame[:2048])
			to = appendChunk(to, frame[2048:])
			return to
		}
		to = appendChunk(to, frame[:length])
		frame = frame[length:]
	}
	return to
}

func appendChunk(to, chunk []byte) []byte {
	to = append(to, strconv.FormatInt(int64(len(chunk)), 16)...)
	to = append(to, "\r\n"...)
	to = append(to, chunk...)
	return append(to, "\r\n"...)
}

// A pod as it was encoded, cut where something of its own is put in.
type template struct {
	name string
	// Fields of the metadata, by number, and what comes after the metadata.
	metadata []part
	rest     []byte
}

type part struct {
	number int
	bytes  []byte
}

func (one template) with(own map[int]string, owner string) []byte {
	var metadata []byte
	for _, part := range one.metadata {
		if text, ok := own[part.number]; ok {
			metadata = append(metadata, field(part.number, []byte(text))...)
		} else {
			metadata = append(metadata, part.bytes...)
		}
	}
	metadata = append(metadata, ownedBy(owner)...)
	return append(field(1, metadata), one.rest...)
}

// The reference to a ReplicaSet, as the controller of these writes it.
func ownedBy(name string) []byte {
	reference := bytes.Join([][]byte{
		field(1, []byte("ReplicaSet")), field(3, []byte(name)),
		field(4, []byte("0d9e1d0e-5a0f-4d6f-9b67-0a4d9f1f3a55")), field(5, []byte("apps/v1")),
		{6 << 3, 1, 7 << 3, 1},
	}, nil)
	return field(13, reference)
}

func templatesOf(body []byte) []template {
	var found []template
	for _, raw := range parts(body[4:]) {
		if raw.number != 2 {
			continue
		}
		for _, item := range parts(content(raw.bytes)) {
			if item.number == 2 {
				found = append(found, templateOf(content(item.bytes)))
			}
		}
	}
	return found
}

func templateOf(pod []byte) template {
	var one template
	for _, part := range parts(pod) {
		if part.number == 1 {
			one.metadata = parts(content(part.bytes))
			continue
		}
		one.rest = append(one.rest, part.bytes...)
	}
	for _, part := range one.metadata {
		if part.number == 1 {
			one.name = string(content(part.bytes))
		}
	}
	return one
}

// The fields of a message, each with its tag.
func parts(message []byte) []part {
	var all []part
	for len(message) > 0 {
		tag, length := binary.Uvarint(message)
		end := length
		switch tag & 7 {
		case 0:
			_, more := binary.Uvarint(message[end:])
			end += more
		case 2:
			size, more := binary.Uvarint(message[end:])
			end += more + int(size)
		case 1:
			end += 8
		case 5:
			end += 4
		}
		all = append(all, part{number: int(tag >> 3), bytes: message[:end]})
		message = message[end:]
	}
	return all
}

// What stands in a field behind tag and length.
func content(field []byte) []byte {
	_, tag := binary.Uvarint(field)
	_, length := binary.Uvarint(field[tag:])
	return field[tag+length:]
}

func field(number int, content []byte) []byte {
	out := binary.AppendUvarint(nil, uint64(number)<<3|2)
	out = binary.AppendUvarint(out, uint64(len(content)))
	return append(out, content...)
}

func object(kind string, raw []byte) []byte {
	meta := append(field(1, []byte("v1")), field(2, []byte(kind))...)
	out := append([]byte("k8s\x00"), field(1, meta)...)
	out = append(out, field(2, raw)...)
	return append(append(out, field(3, nil)...), field(4, nil)...)
}

func event(kind string, object []byte) []byte {
	body := append(field(1, []byte(kind)), field(2, field(1, object))...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func bookmark(version int, ends bool) []byte {
	meta := field(6, []byte(strconv.Itoa(version)))
	if ends {
		entry := append(field(1, []byte("k8s.io/initial-events-end")), field(2, []byte("true"))...)
		meta = append(meta, field(12, entry)...)
	}
	return event("BOOKMARK", object("Pod", field(1, meta)))
}
