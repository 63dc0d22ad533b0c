// Command constant-patch answers every AdmissionReview with one patch from memory and reads nothing of it but its uid: the
// least that a webhook can cost an API server which has to apply that patch.
//
// Usage: constant-patch PATCH FOLDER. PATCH is a file with a JSON patch; FOLDER holds tls.crt and tls.key. It listens on a free
// port of 127.0.0.1 and prints `listening PORT`.
package main

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

const (
	uidKey = `"uid":"`
	uidLen = 36
)

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: constant-patch PATCH FOLDER"))
	}
	patch, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	head := []byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"allowed":true,"patchType":"JSONPatch","patch":"` +
		base64.StdEncoding.EncodeToString(patch) + `","uid":"`)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	server := &http.Server{
		// HTTP/1.1 only, as kubebuilder sets a webhook up.
		TLSConfig:    &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		Handler: http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
			body, err := io.ReadAll(request.Body)
			// The request's own uid comes before any of the object's.
			at := bytes.Index(body, []byte(uidKey)) + len(uidKey)
			if err != nil || at < len(uidKey) || len(body) < at+uidLen {
				http.Error(writer, "no AdmissionReview", http.StatusBadRequest)
				return
			}
			writer.Header().Set("Content-Type", "application/json")
			_, _ = writer.Write(append(append(bytes.Clone(head), body[at:at+uidLen]...), `"}}`...))
		}),
	}
	fmt.Println("listening", listener.Addr().(*net.TCPAddr).Port)
	fail(server.ServeTLS(listener, filepath.Join(os.Args[2], "tls.crt"), filepath.Join(os.Args[2], "tls.key")))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "constant-patch:", err)
	os.Exit(1)
}
