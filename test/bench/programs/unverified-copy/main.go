// unverified-copy SOURCE TARGET copies one image (HOST/REPOSITORY:TAG, plain http, one platform) and verifies nothing of it: the
// kernel moves the bytes of each blob from one connection to the other, and no program sees them. What such a copy takes is
// the registries' own time, which no copier can do without.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
)

type place struct{ host, repository, tag string }

type manifest struct {
	Config descriptor   `json:"config"`
	Layers []descriptor `json:"layers"`
}

type descriptor struct {
	Digest string `json:"digest"`
}

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: unverified-copy SOURCE TARGET"))
	}
	if err := copyImage(parse(os.Args[1]), parse(os.Args[2])); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func parse(reference string) place {
	host, rest, _ := strings.Cut(reference, "/")
	repository, tag, _ := strings.Cut(rest, ":")
	return place{host, repository, tag}
}

func (p place) url(kind, name string) string {
	return fmt.Sprintf("http://%s/v2/%s/%s/%s", p.host, p.repository, kind, name)
}

func copyImage(source, target place) error {
	request, err := http.NewRequest(http.MethodGet, source.url("manifests", source.tag), nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	var image manifest
	if err := json.Unmarshal(content, &image); err != nil {
		return err
	}
	blobs := append(image.Layers, image.Config)
	failures := make([]error, len(blobs))
	var group sync.WaitGroup
	for index, blob := range blobs {
		group.Go(func() { failures[index] = copyBlob(source, target, blob.Digest) })
	}
	group.Wait()
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	request, err = http.NewRequest(http.MethodPut, target.url("manifests", target.tag), bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", answer.Header.Get("Content-Type"))
	return expect(http.StatusCreated)(http.DefaultClient.Do(request))
}

func copyBlob(source, target place, digest string) error {
	answer, err := http.Post(target.url("blobs", "uploads/"), "", nil)
	if err := expect(http.StatusAccepted)(answer, err); err != nil {
		return err
	}
	upload, err := url.Parse(answer.Header.Get("Location"))
	if err != nil {
		return err
	}
	query := upload.Query()
	query.Set("digest", digest)

	from, err := net.Dial("tcp", source.host)
	if err != nil {
		return err
	}
	defer from.Close()
	path := fmt.Sprintf("/v2/%s/blobs/%s", source.repository, digest)
	fmt.Fprintf(from, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, source.host)
	reader := bufio.NewReader(from)
	blob, err := http.ReadResponse(reader, nil)
	if err != nil {
		return err
	}
	if blob.StatusCode != http.StatusOK || blob.ContentLength < 0 {
		return fmt.Errorf("%s: %s, %d bytes", digest, blob.Status, blob.ContentLength)
	}

	to, err := net.Dial("tcp", target.host)
	if err != nil {
		return err
	}
	defer to.Close()
	fmt.Fprintf(to, "PUT %s?%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n",
		upload.Path, query.Encode(), target.host, blob.ContentLength)
	read := min(int64(reader.Buffered()), blob.ContentLength)
	if _, err := io.CopyN(to, reader, read); err != nil {
		return err
	}
	if _, err := io.CopyN(to, from, blob.ContentLength-read); err != nil {
		return err
	}
	return expect(http.StatusCreated)(http.ReadResponse(bufio.NewReader(to), nil))
}

func expect(status int) func(*http.Response, error) error {
	return func(answer *http.Response, err error) error {
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != status {
			return fmt.Errorf("%s instead of %d", answer.Status, status)
		}
		return nil
	}
}
