// ggcr-registry serves go-containerregistry's registry, in memory, with the referrers API, on a port of 127.0.0.1 (default: a
// free one). It says where it listens and logs every request in the combined log format on standard output.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

type recorder struct {
	http.ResponseWriter
	status int
	bytes  int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(part []byte) (int, error) {
	n, err := r.ResponseWriter.Write(part)
	r.bytes += n
	return n, err
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "where to listen")
	certificate := flag.String("cert", "", "PEM file of the certificate; without it plain http is spoken")
	key := flag.String("key", "", "PEM file of its key")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	served := registry.New(
		registry.WithReferrersSupport(true),
		registry.Logger(log.New(io.Discard, "", 0)),
	)
	handler := http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		seen := &recorder{ResponseWriter: writer, status: http.StatusOK}
		served.ServeHTTP(seen, request)
		host, _, _ := net.SplitHostPort(request.RemoteAddr)
		at := time.Now().Format("02/Jan/2006:15:04:05 -0700")
		fmt.Printf("%s - - [%s] \"%s %s %s\" %d %d \"\" %q\n", host, at,
			request.Method, request.RequestURI, request.Proto, seen.status, seen.bytes, request.UserAgent())
	})
	server := &http.Server{Handler: handler}
	fmt.Printf("listening on %s \n", listener.Addr())
	if *certificate != "" {
		log.Fatal(server.ServeTLS(listener, *certificate, *key))
	}
	log.Fatal(server.Serve(listener))
}
