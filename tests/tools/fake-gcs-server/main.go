// A server that speaks as Google Cloud Storage's XML API does, with one bucket in memory.
//
// The objects are fake-gcs-server's. What its XML API lacks is added here: plain uploads, which it
// takes only where they are signed, the tags that are answered to them, and uploads in parts.
package main

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"flag"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

type initiated struct {
	XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
	UploadId string
}

type completed struct {
	XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
	ETag    string
}

// xmlAPI answers uploads, and leaves all else to the store.
type xmlAPI struct {
	store  http.Handler
	prefix string
	mu     sync.Mutex
	// By upload and number.
	parts map[string]map[int][]byte
}

func (api *xmlAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	upload := query.Get("uploadId")
	writes := r.Method == http.MethodPut || r.Method == http.MethodPost || upload != ""
	if !writes || !strings.HasPrefix(r.URL.Path, api.prefix) {
		api.store.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	api.mu.Lock()
	defer api.mu.Unlock()
	parts, known := api.parts[upload]
	switch {
	case r.Method == http.MethodPost && query.Has("uploads"):
		id := strconv.Itoa(len(api.parts) + 1)
		api.parts[id] = map[int][]byte{}
		answer(w, initiated{UploadId: id})
	case upload == "":
		api.put(w, r, body)
	case !known:
		http.Error(w, "no such upload", http.StatusNotFound)
	case r.Method == http.MethodDelete:
		api.parts[upload] = nil
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		number, err := strconv.Atoi(query.Get("partNumber"))
		if err != nil || parts == nil {
			http.Error(w, "no such part", http.StatusBadRequest)
			return
		}
		parts[number] = body
		w.Header().Set("ETag", tag(body))
	default:
		var whole []byte
		for _, number := range slices.Sorted(maps.Keys(parts)) {
			whole = append(whole, parts[number]...)
		}
		api.parts[upload] = nil
		put := httptest.NewRecorder()
		api.put(put, r, whole)
		if put.Code != http.StatusOK {
			http.Error(w, put.Body.String(), put.Code)
			return
		}
		answer(w, completed{ETag: tag(whole)})
	}
}

// put stores an object as a signed upload would.
func (api *xmlAPI) put(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Header().Set("ETag", tag(body))
	r.Method = http.MethodPut
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.URL.RawQuery = "X-Goog-Algorithm=none"
	api.store.ServeHTTP(w, r)
}

func tag(body []byte) string {
	sum := md5.Sum(body)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/xml")
	if err := xml.NewEncoder(w).Encode(body); err != nil {
		log.Print(err)
	}
}

func main() {
	at := flag.String("at", "127.0.0.1:4443", "address to listen on")
	bucket := flag.String("bucket", "bucket", "the bucket that there is")
	flag.Parse()
	options := fakestorage.Options{NoListener: true, Scheme: "http", PublicHost: *at}
	server, err := fakestorage.NewServerWithOptions(options)
	if err != nil {
		log.Fatal(err)
	}
	server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: *bucket})
	parts := map[string]map[int][]byte{}
	api := &xmlAPI{store: server.HTTPHandler(), prefix: "/" + *bucket + "/", parts: parts}
	log.Fatal(http.ListenAndServe(*at, api))
}
