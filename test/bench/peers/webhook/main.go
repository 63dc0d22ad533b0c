// Command webhook answers AdmissionReviews of pods as kip does, with Go's net/http and the Kubernetes types: it points the
// images of a pod at their copies, by tag and digest, keeps the originals in an annotation, and says in an audit annotation
// what became of each image.
//
// Usage: webhook IMAGES FOLDER. IMAGES is JSON, the backup's place and the digest of each copy by normalised reference; FOLDER
// holds tls.crt and tls.key. It listens on a free port of 127.0.0.1 and prints `listening PORT`.
package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	admission "k8s.io/api/admission/v1"
	core "k8s.io/api/core/v1"
)

const (
	originalsAnnotation = "images.kip/original-images"
	// controller-runtime's.
	maxBody = 7 << 20
)

type backup struct {
	Registry string            `json:"registry"`
	Digests  map[string]string `json:"digests"`
}

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: webhook IMAGES FOLDER"))
	}
	content, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	var images backup
	if err := json.Unmarshal(content, &images); err != nil {
		fail(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /mutate", images.serve)
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 32 * time.Second,
		IdleTimeout:       90 * time.Second,
		// HTTP/1.1 only, as kubebuilder sets a webhook up.
		TLSConfig:    &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	fmt.Println("listening", listener.Addr().(*net.TCPAddr).Port)
	folder := os.Args[2]
	fail(server.ServeTLS(listener, filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")))
}

func (images *backup) serve(writer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(writer, request.Body, maxBody))
	if err != nil {
		http.Error(writer, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	var review admission.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil || review.Request == nil {
		http.Error(writer, "no AdmissionReview", http.StatusBadRequest)
		return
	}
	response, err := images.review(review.Request)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := json.Marshal(admission.AdmissionReview{TypeMeta: review.TypeMeta, Response: response})
	if err != nil {
		http.Error(writer, err.Error(), http.StatusInternalServerError)
		return
	}
	writer.Header().Set("Content-Type", "application/json")
	writer.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	_, _ = writer.Write(answer)
}

func (images *backup) review(request *admission.AdmissionRequest) (*admission.AdmissionResponse, error) {
	var pod core.Pod
	if err := json.Unmarshal(request.Object.Raw, &pod); err != nil {
		return nil, err
	}
	originals := map[string]string{}
	var patch []operation
	var rewritten, left []string
	rewrite := func(path, name, image string) {
		copied, ok := images.copyOf(image)
		if !ok {
			left = append(left, name+": NotMirrored "+image)
			return
		}
		patch = append(patch, operation{"replace", path, copied})
		originals[name] = image
		rewritten = append(rewritten, name+": Rewritten "+image+" -> "+copied)
	}
	for index, container := range pod.Spec.Containers {
		rewrite(fmt.Sprintf("/spec/containers/%d/image", index), container.Name, container.Image)
	}
	for index, container := range pod.Spec.InitContainers {
		rewrite(fmt.Sprintf("/spec/initContainers/%d/image", index), container.Name, container.Image)
	}
	response := &admission.AdmissionResponse{UID: request.UID, Allowed: true}
	outcome := "Unchanged"
	if len(patch) > 0 {
		outcome = "Rewritten"
		kept, err := json.Marshal(originals)
		if err != nil {
			return nil, err
		}
		patch = append(patch, annotate(&pod, string(kept)))
		if response.Patch, err = json.Marshal(patch); err != nil {
			return nil, err
		}
		kind := admission.PatchTypeJSONPatch
		response.PatchType = &kind
	}
	response.AuditAnnotations = map[string]string{
		"outcome": outcome,
		"images":  strings.Join(append(rewritten, left...), "; "),
	}
	return response, nil
}

func annotate(pod *core.Pod, kept string) operation {
	if pod.Annotations == nil {
		return operation{"add", "/metadata/annotations", map[string]string{originalsAnnotation: kept}}
	}
	escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace(originalsAnnotation)
	return operation{"add", "/metadata/annotations/" + escaped, kept}
}

// copyOf gives the reference of an image's verified copy.
func (images *backup) copyOf(image string) (string, bool) {
	source, err := reference.ParseDockerRef(image)
	if err != nil {
		return "", false
	}
	digest, ok := images.Digests[source.String()]
	tagged, isTagged := source.(reference.Tagged)
	if !ok || !isTagged {
		return "", false
	}
	host := strings.ReplaceAll(reference.Domain(source), ":", "_")
	return images.Registry + "/" + host + "/" + reference.Path(source) + ":" + tagged.Tag() + "@" + digest, true
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "webhook:", err)
	os.Exit(1)
}
