// What is public, by the special-purpose registries.
#include "shoal/net/public_address.h"

#include <gtest/gtest.h>

namespace shoal::net {
namespace {

bool is_public(const char* text) {
  return net::is_public(boost::asio::ip::make_address(text));
}

TEST(PublicAddress, AddressesOfTheInternet) {
  for (const char* text :
       {"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255",
        "172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
        "2606:4700::1111", "2a00:1450:4001::1", "2001:200::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"})
    EXPECT_TRUE(is_public(text)) << text;
}

TEST(PublicAddress, AddressesOfThisMachineAndItsNetworks) {
  for (const char* text : {"0.0.0.0",      "10.0.0.1",        "10.255.255.255",  "100.64.0.1", "100.127.255.255",
                           "127.0.0.1",    "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255",
                           "192.0.0.1",    "192.0.2.1",       "192.168.1.1",     "198.18.0.1", "198.19.255.255",
                           "198.51.100.1", "203.0.113.9",     "224.0.0.1",       "240.0.0.1",  "255.255.255.255"})
    EXPECT_FALSE(is_public(text)) << text;
  for (const char* text : {"::", "::1", "fe80::1", "fc00::1", "fd12:3456::1", "ff02::1", "2001::1", "2001:db8::1",
                           "3fff::1", "100::1", "64:ff9b:1::1"})
    EXPECT_FALSE(is_public(text)) << text;
}

TEST(PublicAddress, AnIpv4AddressInAnIpv6OneCounts) {
  for (const char* text : {"::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::10.0.0.1", "2002:7f00:1::1",
                           "2002:a9fe:a9fe::1", "::127.0.0.1"})
    EXPECT_FALSE(is_public(text)) << text;
}

}  // namespace
}  // namespace shoal::net
