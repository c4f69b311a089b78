//! The table of attributes (README.md, `alikms features`) against the door: what each row says is tried on an object of each
//! class.

use alikms_pkcs11::model::object::Class;
use alikms_pkcs11::token::attribute::{ATTRIBUTES, AttributeRow, Change, Create, Shape, Unnamed, class_number};
use cryptoki_sys::*;

use crate::call;
use crate::support::{Attr, Client, Installation, P256, Setup, b, nested, number, openssl, u, v};

/// What makes a session object of each class, and no more.
struct Least {
    certificate: Vec<u8>,
    point: Vec<u8>,
}

impl Least {
    fn new(installation: &Installation, c: &Client) -> Self {
        let dir = installation.path(".");
        let words =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key"];
        let certificate = openssl(&dir, &[&words[..], &["-subj", "/CN=one", "-outform", "DER"]].concat()).unwrap();
        let (public, _) = c.session_pair();
        Self { certificate, point: c.get(public, CKA_EC_POINT).unwrap() }
    }

    fn template(&self, class: Class) -> Vec<Attr> {
        let kind = u(CKA_CLASS, class_number(class));
        let more = match class {
            Class::Certificate => vec![u(CKA_CERTIFICATE_TYPE, CKC_X_509), v(CKA_VALUE, &self.certificate)],
            Class::Data => vec![],
            Class::PrivateKey => vec![u(CKA_KEY_TYPE, CKK_EC), v(CKA_EC_PARAMS, P256), v(CKA_VALUE, [1; 32])],
            Class::PublicKey => vec![u(CKA_KEY_TYPE, CKK_EC), v(CKA_EC_PARAMS, P256), v(CKA_EC_POINT, &self.point)],
            Class::SecretKey => vec![u(CKA_KEY_TYPE, CKK_AES), v(CKA_VALUE, [1; 32])],
        };
        [vec![kind], more].concat()
    }
}

/// Values of the shape, of which the first two differ where there are two.
fn values(row: &AttributeRow) -> Vec<Attr> {
    match row.shape {
        Shape::Bool => vec![b(row.kind, false), b(row.kind, true)],
        Shape::Bytes => vec![v(row.kind, b"x"), v(row.kind, b"y")],
        Shape::Date => vec![v(row.kind, b"20260101"), v(row.kind, b"20270101")],
        Shape::Mechanisms => vec![v(row.kind, CKM_AES_ECB.to_ne_bytes())],
        Shape::Nested => vec![nested(row.kind, &[])],
        Shape::Ulong => vec![u(row.kind, 1), u(row.kind, 2)],
    }
}

fn installation() -> (Installation, Client) {
    let installation = Installation::new(&Setup::default());
    let c = installation.client();
    (installation, c)
}

/// Who may name it for a new object, and what it is when nobody does.
#[test]
fn new_objects() {
    let (installation, c) = installation();
    let least = Least::new(&installation, &c);
    for class in Class::ALL {
        let plain = c.create(&least.template(*class)).unwrap();
        for row in ATTRIBUTES {
            let what = format!("{} of {class:?}", row.name);
            let has = row.on.contains(class);
            for attr in values(row) {
                let is_true = attr.1 == [1];
                let template = least.template(*class);
                if template.iter().any(|given| given.0 == row.kind) {
                    continue;
                }
                let made = c.create(&[&template[..], &[attr]].concat());
                match row.create {
                    _ if !has => assert_eq!(made, Err(CKR_ATTRIBUTE_TYPE_INVALID), "{what}"),
                    Create::Never => assert_eq!(made, Err(CKR_ATTRIBUTE_READ_ONLY), "{what}"),
                    Create::Allowed | Create::Import if row.kind == CKA_TRUSTED && is_true => {
                        assert_eq!(made, Err(CKR_ATTRIBUTE_READ_ONLY), "{what}");
                    }
                    // Whether just this value makes sense is another matter.
                    Create::Allowed | Create::Import => assert!(
                        !matches!(made, Err(CKR_ATTRIBUTE_TYPE_INVALID | CKR_ATTRIBUTE_READ_ONLY)),
                        "{what}: {made:x?}"
                    ),
                }
            }
            let expected: &[u8] = match row.unnamed {
                _ if !has => continue,
                Unnamed::Decided => continue,
                Unnamed::Empty => &[],
                Unnamed::False => &[0],
                Unnamed::True => &[1],
            };
            assert_eq!(c.get(plain, row.kind).as_deref(), Ok(expected), "{what}, when nobody names it");
        }
    }
    // The content of a key is nobody's to give where the token makes it.
    for row in ATTRIBUTES.iter().filter(|row| row.create == Create::Import) {
        for attr in values(row) {
            let secret = c.generate(CKM_AES_KEY_GEN, &[u(CKA_VALUE_LEN, 32), attr.clone()]);
            let pair = c.generate_pair(CKM_EC_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, P256)], std::slice::from_ref(&attr));
            for (class, made) in [(Class::SecretKey, secret.err()), (Class::PrivateKey, pair.err())] {
                let has = row.on.contains(&class);
                let refused = if has { CKR_TEMPLATE_INCONSISTENT } else { CKR_ATTRIBUTE_TYPE_INVALID };
                assert_eq!(made, Some(refused), "{} of a generated {class:?}", row.name);
            }
        }
    }
}

/// What C_SetAttributeValue may do.
#[test]
fn changes() {
    let (installation, c) = installation();
    let least = Least::new(&installation, &c);
    for class in Class::ALL {
        for row in ATTRIBUTES {
            let what = format!("{} of {class:?}", row.name);
            let object = c.create(&least.template(*class)).unwrap();
            let set = |attr: &Attr| c.set(object, std::slice::from_ref(attr));
            let values = values(row);
            if !row.on.contains(class) {
                assert_eq!(set(&values[0]), Err(CKR_ATTRIBUTE_TYPE_INVALID), "{what}");
                continue;
            }
            match row.change_on(*class) {
                Change::Always => {
                    for value in &values {
                        assert_eq!(set(value), Ok(()), "{what}");
                        assert_eq!(c.get(object, row.kind).as_deref(), Ok(&value.1[..]), "{what}");
                    }
                }
                Change::Never => {
                    let before = c.get(object, row.kind);
                    for value in &values {
                        assert_eq!(set(value), Err(CKR_ATTRIBUTE_READ_ONLY), "{what}");
                    }
                    assert_eq!(c.get(object, row.kind), before, "{what}");
                }
                Change::OnlyTo(to) => {
                    assert_eq!(set(&b(row.kind, to)), Ok(()), "{what}");
                    assert_eq!(set(&b(row.kind, to)), Ok(()), "{what}, as it is");
                    assert_eq!(set(&b(row.kind, !to)), Err(CKR_ATTRIBUTE_READ_ONLY), "{what}");
                    assert_eq!(c.get(object, row.kind).unwrap(), [u8::from(to)], "{what}");
                }
            }
            c.destroy(object).unwrap();
        }
    }
}

/// A data object's value changes where it is, also in the store, and in a copy.
#[test]
fn values_of_data() {
    let (_installation, c) = installation();
    for token in [false, true] {
        let object = c.create(&[u(CKA_CLASS, CKO_DATA), b(CKA_TOKEN, token), v(CKA_VALUE, b"old")]).unwrap();
        c.set(object, &[v(CKA_VALUE, b"newer")]).unwrap();
        assert_eq!(c.get(object, CKA_VALUE).unwrap(), b"newer");
        let again = c.another();
        assert_eq!(again.get(object, CKA_VALUE).unwrap(), b"newer");
        again.close();
        assert_eq!(c.find(&[u(CKA_CLASS, CKO_DATA), v(CKA_VALUE, b"newer")]), [object]);
        if !token {
            let copy = c.copy(object, &[v(CKA_VALUE, b"copy")]).unwrap();
            assert_eq!(c.get(copy, CKA_VALUE).unwrap(), b"copy");
            assert_eq!(c.get(object, CKA_VALUE).unwrap(), b"newer");
            c.destroy(copy).unwrap();
        }
        c.destroy(object).unwrap();
    }
}

/// What is hidden of a key that is sensitive or not extractable, and that nothing else is.
#[test]
fn reading() {
    let (installation, c) = installation();
    let least = Least::new(&installation, &c);
    let rsa = |shown: bool| {
        let how = [b(CKA_SENSITIVE, !shown), b(CKA_EXTRACTABLE, shown)];
        c.rsa_pair(2048, &[], &how).unwrap().1
    };
    let made = |class: Class, shown: bool| {
        let how = [b(CKA_SENSITIVE, !shown), b(CKA_EXTRACTABLE, shown)];
        c.create(&[&least.template(class)[..], &how].concat()).unwrap()
    };
    let mut seen = 0;
    for (class, shown, hidden) in [
        (Class::PrivateKey, made(Class::PrivateKey, true), made(Class::PrivateKey, false)),
        (Class::PrivateKey, rsa(true), rsa(false)),
        (Class::SecretKey, made(Class::SecretKey, true), made(Class::SecretKey, false)),
    ] {
        for row in ATTRIBUTES.iter().filter(|row| row.on.contains(&class)) {
            let open = c.get(shown, row.kind);
            let closed = c.get(hidden, row.kind).map(drop);
            // An RSA key has no CKA_VALUE, an EC key no CKA_PRIME_1.
            let expected = if row.secret && open.is_ok() { Err(CKR_ATTRIBUTE_SENSITIVE) } else { open.map(drop) };
            assert_eq!(closed, expected, "{} of {class:?}", row.name);
            seen += usize::from(expected == Err(CKR_ATTRIBUTE_SENSITIVE));
        }
    }
    assert_eq!(seen, 8, "two values and six numbers of RSA");
}

/// A copy is what its original is, but for its name among all objects; and an object is as large as what it holds.
#[test]
fn copies_and_sizes() {
    let (installation, c) = installation();
    let least = Least::new(&installation, &c);
    let size = |object| {
        let mut size = 0;
        assert_eq!(call!(c.m, C_GetObjectSize(c.h, object, &raw mut size)), CKR_OK);
        size
    };
    for class in Class::ALL {
        for token in [false, true] {
            let place = [b(CKA_TOKEN, token)];
            let object = c.create(&[&least.template(*class)[..], &place].concat()).unwrap();
            let before = size(object);
            let own = c.get(object, CKA_LABEL).unwrap().len() as CK_ULONG;
            assert!(before > 100, "{class:?}");
            c.set(object, &[v(CKA_LABEL, [b'x'; 40])]).unwrap();
            assert_eq!(size(object), before - own + 40, "{class:?}");
            if token {
                // Each object of the store is one record of the KMS.
                assert_eq!(c.copy(object, &[]), Err(CKR_ACTION_PROHIBITED), "{class:?}");
                continue;
            }
            let copy = c.copy(object, &[]).unwrap();
            for row in ATTRIBUTES.iter().filter(|row| row.on.contains(class)) {
                let (one, other) = (c.get(object, row.kind), c.get(copy, row.kind));
                assert_eq!(one == other, row.kind != CKA_UNIQUE_ID, "{} of {class:?}", row.name);
            }
            assert_eq!(size(copy), size(object));
            c.destroy(object).unwrap();
            assert_eq!(c.get(copy, CKA_LABEL).unwrap(), [b'x'; 40]);
        }
    }
}

/// Profiles are found by who asks for their class, and by nobody else; nobody makes, changes, copies or destroys one.
#[test]
fn profiles() {
    let (_installation, c) = installation();
    let public = Client::open_read_only(c.m);
    assert_eq!(c.logout(), CKR_OK);
    assert_eq!(public.find(&[]).len(), 0);
    assert_eq!(public.find(&[b(CKA_TOKEN, true)]).len(), 0);
    let class = u(CKA_CLASS, CKO_PROFILE);
    let found = public.find(std::slice::from_ref(&class));
    let ids: Vec<_> = found.iter().map(|object| number(&public.get(*object, CKA_PROFILE_ID).unwrap())).collect();
    assert_eq!(ids, [CKP_BASELINE_PROVIDER, CKP_EXTENDED_PROVIDER]);
    assert_eq!(public.find(&[class.clone(), u(CKA_PROFILE_ID, CKP_EXTENDED_PROVIDER)]), [found[1]]);
    assert_eq!(public.find(&[class.clone(), u(CKA_PROFILE_ID, CKP_COMPLETE_PROVIDER)]).len(), 0);
    assert_eq!(public.find(&[class.clone(), b(CKA_TOKEN, false)]).len(), 0);
    public.close();
    c.login();
    assert_eq!(c.find(std::slice::from_ref(&class)), found);
    assert_eq!(number(&c.get(found[0], CKA_CLASS).unwrap()), CKO_PROFILE);
    assert!(c.is(found[0], CKA_TOKEN) && !c.is(found[0], CKA_PRIVATE));
    for refused in [
        c.set(found[0], &[v(CKA_LABEL, "x")]),
        c.set(found[0], &[u(CKA_PROFILE_ID, CKP_COMPLETE_PROVIDER)]),
        c.copy(found[0], &[]).map(drop),
        c.destroy(found[0]),
    ] {
        assert_eq!(refused, Err(CKR_ACTION_PROHIBITED));
    }
    for kind in [CKO_PROFILE, CKO_DOMAIN_PARAMETERS, CKO_HW_FEATURE, CKO_MECHANISM, CKO_OTP_KEY] {
        // No key here has domain parameters but by its curve's name.
        assert_eq!(c.create(&[u(CKA_CLASS, kind)]), Err(CKR_ATTRIBUTE_VALUE_INVALID), "{kind}");
    }
    assert_eq!(c.sign_init(CKM_ECDSA, found[0]), Err(CKR_KEY_HANDLE_INVALID));
    let beyond = found[1] + 1;
    assert_eq!(c.get(beyond, CKA_CLASS), Err(CKR_OBJECT_HANDLE_INVALID));
}
