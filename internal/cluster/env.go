package cluster

// Environment variables of a node. User-data writes the first group to
// instance.env, and the provider the second to instance-config.env; boot merges
// both into /etc/environment (docs/design.md#user-data-and-boot).
const (
	EnvHostname      = "HOSTNAME" // node name
	EnvRole          = "INSTANCE_ROLE"
	EnvAddress       = "STATIC_IP" // private IPv4
	EnvRegion        = "AWS_REGION"
	EnvCluster       = "XEROOPS_CLUSTER"        // also the CLI's --cluster
	EnvUploadsBucket = "XEROOPS_UPLOADS_BUCKET" // also the CLI's --uploads-bucket

	EnvNode              = "XEROOPS_NODE" // node name
	EnvVPNCIDR           = "XEROOPS_VPN_CIDR"
	EnvPGDumpBucket      = "XEROOPS_PGDUMP_BUCKET"
	EnvWALGBucket        = "XEROOPS_WALG_BUCKET"
	EnvLogsBucket        = "XEROOPS_LOGS_BUCKET"
	EnvDataVolume        = "XEROOPS_DATA_VOLUME"        // EBS volume ID; unset on nodes without one
	EnvManagementAddress = "XEROOPS_MANAGEMENT_ADDRESS" // private IPv4
)

// Environment variables of an application's unit, in addition to PORT and the
// node's.
const (
	EnvApplication = "XEROOPS_APPLICATION"
	EnvVersion     = "XEROOPS_VERSION"
	EnvRoutePrefix = "XEROOPS_ROUTE_PREFIX"
	EnvTrial       = "XEROOPS_TRIAL" // 1 in a trial run, which serves no traffic
)

// Environment variables of an image build.
const (
	EnvImageRole    = "XEROOPS_ROLE"
	EnvBundle       = "XEROOPS_BUNDLE"        // directory of the role's unpacked bundle
	EnvBackupEngine = "XEROOPS_BACKUP_ENGINE" // pgbackrest or wal-g
)

// Environment variables that operators and developers set.
const (
	EnvVia        = "XEROOPS_VIA"            // command that connects the CLI to the registry
	EnvLabName    = "XEROOPS_LAB_NAME"       // name of the lab
	EnvLabCache   = "XEROOPS_LAB_CACHE"      // directory of base images and packages
	EnvPacker     = "XEROOPS_PACKER"         // Packer binary
	EnvMotoServer = "XEROOPS_MOTO_SERVER"    // moto_server binary
	EnvBin        = "XEROOPS_BIN"            // directory of this project's binaries
	EnvEdgePort   = "XEROOPS_EDGE_PORT"      // loopback port of the edge in scripts/up.sh
	EnvSetupFor   = "XEROOPS_SETUP_FOR"      // test or up: what scripts/setup.sh prepares for
	EnvDebianTree = "XEROOPS_DEBIAN_TREE"    // Debian tree in which tests run services
	EnvDrills     = "XEROOPS_DRILLS"         // not empty: run the drills
	EnvSweep      = "XEROOPS_SWEEP"          // which cases the crash sweeps run; see there
	EnvSweepWidth = "XEROOPS_SWEEP_PARALLEL" // number of cases that the provider's sweep runs in parallel
	EnvSweepState = "XEROOPS_SWEEP_STATE"    // file in which the provider's sweep records the cases that passed
)
