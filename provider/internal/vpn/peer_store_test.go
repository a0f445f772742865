package vpn

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

var vpnRange = netip.MustParsePrefix("10.100.0.0/16")

// newStore returns a store in a moto server of its own.
func newStore(t *testing.T) (context.Context, store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	server := mototest.Start(t, moto.Options{})
	client := s3.New(s3.Options{
		BaseEndpoint: &server.URL, UsePathStyle: true, Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("uploads")}); err != nil {
		t.Fatal(err)
	}
	return ctx, store{s3: client, bucket: "uploads", layout: cluster.Layout{Cluster: "test"}}
}

func TestReserveReturnsEachAddressOnce(t *testing.T) {
	ctx, s := newStore(t)
	const peers = 20
	var got [peers]netip.Addr
	var wg sync.WaitGroup
	for n := range peers {
		wg.Go(func() {
			var err error
			if got[n], err = s.reserve(ctx, vpnRange, fmt.Sprintf("peer%d", n), netip.Addr{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[netip.Addr]int{}
	for n, address := range got {
		if other, ok := seen[address]; ok {
			t.Errorf("peers %d and %d both got %s", n, other, address)
		}
		seen[address] = n
	}
}

func TestReserveReturnsTheAddressOfAnInterruptedCreate(t *testing.T) {
	ctx, s := newStore(t)
	first, err := s.reserve(ctx, vpnRange, "laptop", netip.Addr{}) // the process is killed after this
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.reserve(ctx, vpnRange, "phone", netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	if again, err := s.reserve(ctx, vpnRange, "laptop", netip.Addr{}); err != nil || again != first {
		t.Errorf("the next create got %s (%v), want %s", again, err, first)
	}
}

func TestReserveRebuildsALostTableFromThePeers(t *testing.T) {
	ctx, s := newStore(t)
	if err := s.create(ctx, cluster.VPNPeer{Name: "old", PublicKey: "A", Address: "10.100.0.2"}); err != nil {
		t.Fatal(err)
	}
	got, err := s.reserve(ctx, vpnRange, "new", netip.Addr{})
	if err != nil || got.String() != "10.100.0.3" {
		t.Errorf("got %s (%v), want 10.100.0.3", got, err)
	}
}

func TestCreateFindsItsOwnPeerAndNoOther(t *testing.T) {
	ctx, s := newStore(t)
	mine := cluster.VPNPeer{Schema: cluster.VPNPeerSchema, Name: "laptop", PublicKey: "key", Address: "10.100.0.2", Claim: "open::mine"}
	for range 2 { // the answer to the first is lost
		if err := s.create(ctx, mine); err != nil {
			t.Fatal(err)
		}
	}
	theirs := mine
	theirs.Claim = "open::theirs"
	err := s.create(ctx, theirs)
	if err == nil || !strings.Contains(err.Error(), "terraform import <address> test/uploads/laptop") {
		t.Errorf("another's peer: error %v, want one with the import command", err)
	}
	if there, err := s.peer(ctx, "laptop"); err != nil || *there != mine {
		t.Errorf("the object is %v (%v), want %v", there, err, mine)
	}
}

func TestConcurrentChangesOfAPeerKeepItsClaim(t *testing.T) {
	ctx, s := newStore(t)
	p := cluster.VPNPeer{Schema: cluster.VPNPeerSchema, Name: "laptop", PublicKey: "old", Address: "10.100.0.2", Claim: "open::mine"}
	if err := s.create(ctx, p); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.writeClaim(ctx, "laptop", "held::mine"); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		changed := p
		changed.PublicKey, changed.Claim = "new", ""
		if err := s.update(ctx, changed); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	p.PublicKey, p.Claim = "new", "held::mine"
	if there, err := s.peer(ctx, "laptop"); err != nil || *there != p {
		t.Errorf("the object is %v (%v), want %v", there, err, p)
	}
}

func TestDeleteReleasesTheAddressAndCanBeRepeated(t *testing.T) {
	ctx, s := newStore(t)
	if _, err := s.reserve(ctx, vpnRange, "laptop", netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	if err := s.create(ctx, cluster.VPNPeer{Name: "laptop", PublicKey: "A", Address: "10.100.0.2"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.delete(ctx, "laptop"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.peer(ctx, "laptop"); !errors.Is(err, errNoObject) {
		t.Errorf("the object is still there (%v)", err)
	}
	if got, err := s.reserve(ctx, vpnRange, "phone", netip.Addr{}); err != nil || got.String() != "10.100.0.2" {
		t.Errorf("the next peer got %s (%v), want 10.100.0.2", got, err)
	}
}

func TestDeleteWithoutABucketSucceeds(t *testing.T) {
	ctx, s := newStore(t)
	s.bucket = "gone"
	if err := s.delete(ctx, "laptop"); err != nil {
		t.Error(err)
	}
}
