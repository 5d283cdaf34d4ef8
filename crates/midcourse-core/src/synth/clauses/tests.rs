//! Tables by hand, one row a thing that is easily got wrong.

use proptest::prelude::*;

use super::EndKind::{Clause, Item, Line, Sentence, Space};
use super::*;

/// Reads texts in which `|` stands after a clause, `‖` after a sentence, `↵` after a line, `⁋` after an item and `␣`
/// before a space that ends something.
fn check(marked: &[&str]) {
    const SIGNS: [(char, EndKind); 5] =
        [('|', Clause), ('‖', Sentence), ('↵', Line), ('⁋', Item), ('␣', Space)];
    for marked in marked {
        let text: String = marked.chars().filter(|c| SIGNS.iter().all(|(sign, _)| sign != c)).collect();
        let mut shown = text.clone();
        for end in ends(&text).iter().rev() {
            let sign = SIGNS.iter().find(|(_, kind)| *kind == end.kind).unwrap().0;
            shown.insert(end.at, sign);
        }
        assert_eq!(shown, **marked);
    }
}

#[test]
fn english_clauses_and_sentences_end_at_their_marks() {
    check(&[
        "First,| take two cards;| then smile.‖ Easy,| right?‖ Yes!‖",
        "He said \"go on,\"| and left.‖ \"Fine.\"‖ (Really.)‖ So it was.‖",
        "She smiled (a little:| not much),| waited...| and rolled.‖",
        "One thing —| the dice —| matters--| and another -| one–two well-known –| ends.‖",
        "**Note:**| peek at _it._‖ Then **go**.‖",
        "so be it. and go on",
        "He waited…| and rolled?!‖ Well…|",
    ]);
}

#[test]
fn nothing_ends_inside_numbers_addresses_and_names() {
    check(&[
        "It costs 1,000 or 3.14 at 10:30 in v1.2.3 or 2010-2020,| 5 - 3 and 5 – 3.‖",
        "See https://a.example/b?c=1,2;d:e and notes.txt or a,bc.‖",
        "Add --force or -f to x.y,| too.‖",
        "共1,000元，|在10：30见3.14。‖",
        "۱،۰۰۰ سنگ،| بعد",
        "１，０００円。‖",
    ]);
}

#[test]
fn nothing_ends_after_abbreviations() {
    check(&[
        "Ask Mr. Fox,| Dr. Hare or J. R. Owl,| e.g. at 5 p.m. today,| i.e., now.‖",
        "See fig. 3 and no. 5.‖ He said no.‖ Then I.‖ Go.‖",
        "Bread,| milk etc.‖ Then go.‖",
        "डॉ. राम आए।‖ ठीक है।‖",
        "พ.ศ. 2500",
    ]);
}

#[test]
fn nothing_ends_after_list_markers() {
    check(&[
        "1. Shuffle.‖\n2) Deal,| then:|\n  a) two cards⁋\n  (ii) one card⁋\n- a king⁋\n• a queen⁋\n",
        "Step 2: Wait.‖\n**Step 3:** Go.‖\n**4.** Stop.‖\nDay 5 – rest.‖\n1.2. Rest⁋\n1️⃣ Rest⁋\n",
        "Do this.‖ 2. Do that.‖ 3) And that.‖",
        "一、洗牌。‖\n（二）发牌，|\n第三，看牌。‖\n4.看牌。‖\n",
        "๑. เล่น⁋\n١) لعب⁋\n",
        "Chapter 1↵\n---\n***\n",
        "In 1945.‖ It ended.‖",
    ]);
}

#[test]
fn scripts_without_spaces_and_other_marks() {
    check(&[
        "他说：|“好。”‖然后，|走了！‖你好,|世界。‖",
        "「はい。」‖と言った、|そして…|終わり。‖",
        "他说：|\"好。\"‖然后走了。‖**粗体：**|好。‖**粗**",
        "เล่นไพ่␣ แล้วซ่อนไพ่ iPhone ไว้␣ ต่าง ๆ ที่ ๕ ๖ ใบ",
        "ຫຼິ້ນໄພ່␣ ແລ້ວເຊື່ອງ",
        "លេងបៀ។‖ បន្ទាប់មក៖| លាក់",
        "ကစားပါ၊‖ ပြီးနောက်␣ ဖွက်ပါ။‖",
        "العب الورق،| ثم اخفِ ورقة؛| أليس كذلك؟‖ نعم.‖",
        "पत्ते खेलो,| फिर छिपाओ।‖ ठीक है॥‖",
        "ተጫወት፣| ከዚያ ደብቅ።‖",
        "खेलो।‖\r\nफिर↵\r\nUp↵\u{2028}down",
    ]);
}

#[test]
fn long_texts_take_linear_time() {
    for part in
        [".", ". ", ".\"", "\"", "a.", "* ", "- ", "1. ", "ๆ ", "\u{301}", ".\u{301}", "(", "…", "a\n", "🇫"]
    {
        let text = part.repeat(200_000) + &" ".repeat(200_000);
        assert!(ends(&text).len() <= text.len());
        let text = format!("A.{}{}", " ".repeat(300_000), part.repeat(100_000));
        assert!(ends(&text).len() <= text.len());
    }
}

proptest! {
    #[test]
    fn ends_ascend_with_a_letter_or_digit_between_them(text in any::<String>()) {
        let mut from = 0;
        for end in ends(&text) {
            prop_assert!(text[from..end.at].contains(char::is_alphanumeric), "{text:?} {end:?}");
            prop_assert!(text[end.at..end.next].chars().all(char::is_whitespace));
            prop_assert!(!text[end.next..].starts_with(char::is_whitespace));
            from = end.next;
        }
    }
}
