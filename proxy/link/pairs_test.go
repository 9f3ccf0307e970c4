package link

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func tcpPair(t testing.TB) (ours, theirs net.Conn) {
	return socketPair(t, "tcp", "127.0.0.1:0")
}

func unixPair(t testing.TB) (ours, theirs net.Conn) {
	return socketPair(t, "unix", filepath.Join(t.TempDir(), "s"))
}

func pipePair(testing.TB) (ours, theirs net.Conn) {
	return net.Pipe()
}

func socketPair(t testing.TB, network, address string) (ours, theirs net.Conn) {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	theirs, err = net.Dial(network, listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ours, err = listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{ours, theirs} { // small and fixed, or a loopback takes megabytes at once
		sized := conn.(interface {
			SetReadBuffer(int) error
			SetWriteBuffer(int) error
		})
		if err := errors.Join(sized.SetReadBuffer(64<<10), sized.SetWriteBuffer(64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	return ours, theirs
}

func tlsPair(t testing.TB) (ours, theirs net.Conn) {
	t.Helper()
	rawOurs, rawTheirs := tcpPair(t)
	server := tls.Server(rawOurs, &tls.Config{Certificates: []tls.Certificate{testCertificate()}})
	client := tls.Client(rawTheirs, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return server, client
}

var testCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})
