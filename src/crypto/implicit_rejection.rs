//! PKCS#1 v1.5 unpadding with implicit rejection. The one place with code of our own near a primitive (DESIGN §7).
