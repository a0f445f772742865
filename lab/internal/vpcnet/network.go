//go:build linux

package vpcnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Side names a namespace in which the supervisor can listen, dial and run commands.
type Side string

const (
	// Router has the addresses of the lab's services. Connections from it bypass
	// security groups.
	Router Side = "router"
	// Internet reaches public addresses, and no private ones.
	Internet Side = "internet"
)

// Network is the network of one lab.
type Network struct {
	dir    string
	router *netlink.Handle
	uplink int // index of the router's interface to the internet side

	mu       sync.Mutex
	machines map[string]Machine        // machines that have a namespace and an interface
	nat      map[netip.Addr]netip.Addr // public to private addresses
	rules    string                    // the nftables ruleset that is loaded
}

// routerUplink is the router's address on the internet side and the default gateway
// there.
var routerUplink = netip.MustParseAddr("198.18.255.1")

const uplinkName = "inet0"

// Open creates the namespaces of router and internet, after removing those that a
// dead supervisor left in dir. All machines must be off.
func Open(dir string) (*Network, error) {
	if _, err := exec.LookPath("nft"); err != nil {
		return nil, fmt.Errorf("open network: nft is not on PATH; install Debian's package nftables: %w", err)
	}
	if err := Remove(dir); err != nil {
		return nil, err
	}
	n := &Network{dir: dir, machines: map[string]Machine{}, nat: map[netip.Addr]netip.Addr{}}
	if err := n.setUp(); err != nil {
		return nil, errors.Join(fmt.Errorf("open network in %s: %w", dir, err), Remove(dir))
	}
	return n, nil
}

func (n *Network) setUp() error {
	for _, side := range []Side{Router, Internet} {
		if err := makeNamespace(n.path(side)); err != nil {
			return err
		}
	}
	if err := inNamespace(n.path(Router), setRouterSysctls); err != nil {
		return err
	}
	var err error
	if n.router, err = handleAt(n.path(Router)); err != nil {
		return err
	}
	if err := n.loadRules(Model{}); err != nil { // first, so that nothing passes unfiltered
		return err
	}
	lo, err := n.router.LinkByName("lo")
	if err != nil {
		return err
	}
	for _, a := range []netip.Addr{MetadataAddress, DNSAddress, S3Address, MirrorAddress} {
		if err := n.router.AddrAdd(lo, hostAddr(a)); err != nil {
			return fmt.Errorf("add address %s: %w", a, err)
		}
	}
	if err := n.router.LinkSetUp(lo); err != nil {
		return err
	}
	if err := n.connectInternet(); err != nil {
		return err
	}
	conf := fmt.Sprintf("nameserver %s\n", DNSAddress)
	return os.WriteFile(resolvConf(n.dir), []byte(conf), 0o644)
}

// connectInternet creates the link between router and internet side.
func (n *Network) connectInternet() error {
	err := n.addLink(uplinkName, n.path(Internet), nil, netip.PrefixFrom(InternetAddress, InternetPrefix.Bits()), routerUplink)
	if err != nil {
		return fmt.Errorf("connect internet side: %w", err)
	}
	l, err := n.router.LinkByName(uplinkName)
	if err != nil {
		return fmt.Errorf("connect internet side: %w", err)
	}
	n.uplink = l.Attrs().Index
	addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(routerUplink, InternetPrefix.Bits()))}
	if err := n.router.AddrAdd(l, addr); err != nil {
		return fmt.Errorf("connect internet side: %w", err)
	}
	return nil
}

// setRouterSysctls runs in the router's namespace. It disables reverse path filtering,
// which ignores the subnets' route tables; the nftables rules check source addresses.
func setRouterSysctls() error {
	for _, kv := range [][2]string{
		{"ipv4/ip_forward", "1"},
		{"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"},
		{"ipv4/conf/all/send_redirects", "0"}, {"ipv4/conf/default/send_redirects", "0"},
		{"ipv6/conf/all/disable_ipv6", "1"}, {"ipv6/conf/default/disable_ipv6", "1"},
	} {
		err := os.WriteFile("/proc/sys/net/"+kv[0], []byte(kv[1]), 0o644)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // the kernel may lack IPv6
			return fmt.Errorf("set sysctl: %w", err)
		}
	}
	return nil
}

// NamespacePath returns the path of a machine's network namespace.
func (n *Network) NamespacePath(machineID string) string {
	return filepath.Join(n.dir, "netns", "m-"+machineID)
}

func (n *Network) path(s Side) string { return sidePath(n.dir, s) }

func sidePath(dir string, s Side) string { return filepath.Join(dir, "netns", string(s)) }

func resolvConf(dir string) string { return filepath.Join(dir, "resolv.conf") }

// Listen listens inside a namespace. A connection's remote address identifies the
// machine that it comes from.
func (n *Network) Listen(ctx context.Context, side Side, network, address string) (l net.Listener, err error) {
	var lc net.ListenConfig
	err = inNamespace(n.path(side), func() error {
		l, err = lc.Listen(ctx, network, address)
		return err
	})
	return l, err
}

// ListenPacket is [Network.Listen] for datagrams.
func (n *Network) ListenPacket(ctx context.Context, side Side, network, address string) (c net.PacketConn, err error) {
	var lc net.ListenConfig
	err = inNamespace(n.path(side), func() error {
		c, err = lc.ListenPacket(ctx, network, address)
		return err
	})
	return c, err
}

// Dial connects from inside a namespace to an IPv4 address and port. It rejects host
// names, which would be resolved in the host's namespace.
func (n *Network) Dial(ctx context.Context, side Side, network, address string) (c net.Conn, err error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("dial from the %s side: %w", side, err)
	}
	// Without happy eyeballs (RFC 8305), Dial opens its socket on the calling thread.
	d := net.Dialer{FallbackDelay: -1}
	err = inNamespace(n.path(side), func() error {
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Command returns a command that runs in the namespace, with the lab's name server in
// /etc/resolv.conf.
func (n *Network) Command(ctx context.Context, side Side, args ...string) *exec.Cmd {
	return Command(ctx, n.dir, side, args...)
}

// Command is [Network.Command] for processes other than the one that opened the
// network in dir.
func Command(ctx context.Context, dir string, side Side, args ...string) *exec.Cmd {
	const script = `mount --bind "$0" /etc/resolv.conf && exec "$@"`
	head := []string{"--net=" + sidePath(dir, side), "unshare", "--mount", "sh", "-c", script, resolvConf(dir)}
	return exec.CommandContext(ctx, "nsenter", append(head, args...)...)
}

// Close removes the network.
func (n *Network) Close() error {
	n.router.Close()
	return Remove(n.dir)
}

// Remove removes all namespaces that this package created in dir, including those of
// a dead supervisor. All machines must be off.
func Remove(dir string) error {
	entries, err := os.ReadDir(filepath.Join(dir, "netns"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove network in %s: %w", dir, err)
	}
	// Remove the router first: deleting its interfaces deletes their peers, even if a
	// process still holds a machine's namespace.
	names := []string{string(Router)}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, removeNamespace(filepath.Join(dir, "netns", name)))
	}
	for _, p := range []string{filepath.Join(dir, "netns"), resolvConf(dir)} {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove network: %w", err))
		}
	}
	return errors.Join(errs...)
}

func hostAddr(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, 32)), Scope: unix.RT_SCOPE_HOST}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
