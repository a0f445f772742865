data "xeroops_availability_zones" "available" {}

# gp3, encrypted. Type, size, IOPS and throughput are changed in place.
resource "xeroops_volume" "db1" {
  name              = "production-db1-data"
  availability_zone = data.xeroops_availability_zones.available.names[0]
  size_gib          = 100
  iops              = 4000
  throughput_mibps  = 250

  # A snapshot each night, two weeks of them.
  snapshot_schedule = {
    interval_hours = 24
    retain_count   = 14
  }
}

# No snapshot is left when this one is destroyed.
resource "xeroops_volume" "scratch" {
  name              = "production-scratch"
  availability_zone = data.xeroops_availability_zones.available.names[0]
  size_gib          = 20
  final_snapshot    = false
}

# io2, for a database that needs many IOPS. Its first snapshot may take long.
resource "xeroops_volume" "db2" {
  name                   = "production-db2-data"
  availability_zone      = data.xeroops_availability_zones.available.names[0]
  type                   = "io2"
  size_gib               = 500
  iops                   = 32000
  final_snapshot_timeout = "24h"
}
