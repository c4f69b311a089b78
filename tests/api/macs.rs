//! GenerateMac and VerifyMac.

use crate::bed::{Bed, fields, text, to_base64, unique};

at_both_levels! {
    macs_are_made_and_checked
}

fn macs_are_made_and_checked(bed: &Bed) {
    for (spec, length, other) in [
        ("HMAC_SHA_256", 44, "HMAC_SHA_384"),
        ("HMAC_SHA_384", 64, "HMAC_SHA_512"),
        ("HMAC_SHA_512", 88, "HMAC_SHA_256"),
    ] {
        let key = text(&bed.create(&[("KeySpec", spec)])["KeyId"]);
        let alias = unique("mac");
        bed.ok("CreateAlias", &[("KeyId", &key), ("AliasName", &alias)]);
        for message in [b"".as_slice(), b"this is a message\n", &[0xa5; 10_000]] {
            let message = to_base64(message);
            let own = [("KeyId", alias.as_str()), ("Algorithm", spec), ("Message", &message)];
            let made = bed.ok("GenerateMac", &own);
            assert_eq!(fields(&made), "Algorithm KeyId Mac RequestId");
            let mac = text(&made["Mac"]);
            assert_eq!((mac.len(), &made["Algorithm"], &made["KeyId"]), (length, &spec.into(), &key.as_str().into()));
            assert_eq!(bed.ok("GenerateMac", &own)["Mac"], mac.as_str(), "the same again");
            let checked = |mac: &str, message: &str| {
                let given = [("KeyId", key.as_str()), ("Algorithm", spec), ("Message", message), ("Mac", mac)];
                let answer = bed.ok("VerifyMac", &given);
                assert_eq!(fields(&answer), "Algorithm KeyId RequestId Value");
                answer["Value"] == true
            };
            assert!(checked(&mac, &message));
            assert!(!checked(&mac, "b3RoZXI=") && !checked("AAAA", &message) && !checked("", &message));
            assert!(!checked(&format!("{mac}{mac}").replace('=', "A"), &message));
        }
        let wrong = |key: &str, algorithm: &str| {
            bed.refused("GenerateMac", &[("KeyId", key), ("Algorithm", algorithm), ("Message", "YQ==")])
        };
        assert_eq!(wrong(&key, other), (400, "UnsupportedOperation"));
        assert_eq!(wrong(&key, "HMAC_MD5"), (400, "InvalidParameter"));
        assert_eq!(wrong(&bed.secret(), spec), (400, "UnsupportedOperation"));
        assert_eq!(bed.refused("Encrypt", &[("KeyId", &key), ("Plaintext", "YQ==")]), (400, "UnsupportedOperation"));
        // A new version would make every code that there is wrong.
        assert_eq!(bed.refused("CreateKeyVersion", &[("KeyId", &key)]), (400, "Rejected.UnsupportedOperation"));
        let rotate = [("EnableAutomaticRotation", "true"), ("RotationInterval", "30d")];
        let update = [("KeyId", key.as_str()), rotate[0], rotate[1]];
        assert_eq!(bed.refused("UpdateRotationPolicy", &update), (400, "Rejected.UnsupportedOperation"));
        let create = [("KeySpec", spec), rotate[0], rotate[1]];
        assert_eq!(bed.refused("CreateKey", &create), (400, "UnsupportedOperation"));
        let dry = [("KeyId", key.as_str()), ("Algorithm", spec), ("Message", "YQ=="), ("DryRun", "true")];
        assert_eq!(bed.refused("GenerateMac", &dry), (400, "DryRunOperationError"));
        bed.ok("DisableKey", &[("KeyId", &key)]);
        assert_eq!(wrong(&key, spec), (409, "Rejected.Disabled"));
        bed.ok("ScheduleKeyDeletion", &[("KeyId", &key)]);
        assert_eq!(wrong(&key, spec), (409, "Rejected.PendingDeletion"));
    }
}
